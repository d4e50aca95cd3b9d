//! Prints every shader module as JSON, `[{"name", "source"}]`, for the browser's compiler to check.

#[path = "support/shader_modules.rs"]
mod shader_modules;

use serde_json::{Value, json};

fn main() -> serde_json::Result<()> {
    let modules = shader_modules::all();
    let list: Vec<Value> =
        modules.iter().map(|(name, source)| json!({"name": name, "source": source})).collect();
    serde_json::to_writer(std::io::stdout().lock(), &list)
}
