//! Prints every shader module as JSON, `[{"name", "source"}]`, for the browser's compiler to check.

#[path = "support/shader_modules.rs"]
mod shader_modules;

use serde_json::{Value, json};

fn main() -> serde_json::Result<()> {
    let mut modules = shader_modules::all();
    let subgroups = easel::kernel::subgroup_shader_sources();
    modules
        .extend(subgroups.into_iter().map(|(name, source)| (name, format!("enable subgroups;\n{source}"))));
    let list: Vec<Value> =
        modules.iter().map(|(name, source)| json!({"name": name, "source": source})).collect();
    serde_json::to_writer(std::io::stdout().lock(), &list)
}
