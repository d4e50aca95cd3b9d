//! Every shader module compiles and stays within the limits that every WebGPU adapter has.

#[path = "support/shader_modules.rs"]
mod shader_modules;

use std::collections::BTreeSet;

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module};

/// `maxStorageBuffersPerShaderStage` of WebGPU's default limits.
const STORAGE_BUFFERS: usize = 8;
/// `maxComputeWorkgroupStorageSize`.
const WORKGROUP_BYTES: u32 = 16 << 10;
/// `maxComputeInvocationsPerWorkgroup`, and `maxComputeWorkgroupSizeX` and `Y`.
const INVOCATIONS: u32 = 256;
/// `maxComputeWorkgroupSizeZ`.
const INVOCATIONS_Z: u32 = 64;
/// What the template language of the kernels leaves behind when a define is missing.
const LEFT_OVER: [&str; 4] = ["{{", "}}", "#", "$"];

/// The code without its comments.
fn code(source: &str) -> String {
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// What naga asks for before it takes unpack2x16float, which every WebGPU adapter has.
const EVERYWHERE: Capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;

fn compile(source: &str, capabilities: Capabilities) -> Result<(Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(source))?;
    Ok((module, info))
}

/// What is wrong with a module, if anything.
fn faults(source: &str, capabilities: Capabilities) -> Vec<String> {
    let code = code(source);
    let mut faults: Vec<String> = LEFT_OVER
        .iter()
        .filter(|rest| code.contains(**rest))
        .map(|rest| format!("`{rest}` is left over"))
        .collect();
    match compile(source, capabilities) {
        Ok((module, info)) => faults.extend(broken_limits(&module, &info)),
        Err(message) => faults.push(message),
    }
    faults
}

fn broken_limits(module: &Module, info: &ModuleInfo) -> Vec<String> {
    let mut faults = Vec::new();
    let mut unused: BTreeSet<_> = module.global_variables.iter().map(|(handle, _)| handle).collect();
    for (index, entry) in module.entry_points.iter().enumerate() {
        let uses = info.get_entry_point(index);
        let (mut buffers, mut bytes) = (0, 0);
        for (handle, global) in module.global_variables.iter().filter(|(handle, _)| !uses[*handle].is_empty())
        {
            unused.remove(&handle);
            match global.space {
                AddressSpace::Storage { .. } => buffers += 1,
                AddressSpace::WorkGroup => bytes += module.types[global.ty].inner.size(module.to_ctx()),
                _ => {}
            }
        }
        let [x, y, z] = entry.workgroup_size;
        if buffers > STORAGE_BUFFERS {
            faults.push(format!("`{}` binds {buffers} storage buffers of {STORAGE_BUFFERS}", entry.name));
        }
        if bytes > WORKGROUP_BYTES {
            faults
                .push(format!("`{}` has {bytes} bytes of workgroup memory of {WORKGROUP_BYTES}", entry.name));
        }
        if x.saturating_mul(y).saturating_mul(z) > INVOCATIONS || z > INVOCATIONS_Z {
            faults.push(format!("`{}` has a workgroup of {x}x{y}x{z}", entry.name));
        }
    }
    for handle in unused {
        let name = module.global_variables[handle].name.as_deref().unwrap_or_default();
        faults.push(format!("`{name}` is declared and not used"));
    }
    faults
}

#[test]
fn every_module_compiles_within_the_default_limits() {
    let modules = shader_modules::all();
    let names: BTreeSet<&String> = modules.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), modules.len(), "two modules have one name");
    let files: BTreeSet<&str> = names.iter().filter_map(|name| name.split(' ').next()).collect();
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../shaders")).expect("shaders/");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let wgsl = paths.filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
    for path in wgsl {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        assert!(files.contains(name.as_ref()), "no module is made from shaders/{name}.wgsl");
    }
    let broken: Vec<String> = modules
        .iter()
        .flat_map(|(name, source)| {
            faults(source, EVERYWHERE).into_iter().map(move |fault| format!("{name}: {fault}"))
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// All compile where `needed` is there beside `others`, and none does without it.
fn compile_only_with(needed: Capabilities, others: Capabilities, modules: Vec<(String, String)>) {
    assert!(!modules.is_empty());
    for (name, source) in modules {
        let found = faults(&source, EVERYWHERE | others | needed);
        assert!(found.is_empty(), "{name}: {}", found.join("\n"));
        assert!(!faults(&source, EVERYWHERE | others).is_empty(), "{name} needs no {needed:?}");
    }
}

#[test]
fn f16_modules_compile_where_f16_is_allowed() {
    let modules = easel::kernel::f16_shader_sources();
    compile_only_with(Capabilities::SHADER_FLOAT16, Capabilities::empty(), modules);
}

#[test]
fn subgroup_modules_compile_where_subgroups_are() {
    let modules = easel::kernel::subgroup_shader_sources();
    compile_only_with(Capabilities::SUBGROUP, Capabilities::empty(), modules);
}

#[test]
fn cooperative_modules_compile_where_matrices_are() {
    let others = Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP;
    let modules = easel::kernel::cooperative_shader_sources();
    compile_only_with(Capabilities::COOPERATIVE_MATRIX, others, modules);
}

#[test]
fn broken_modules_are_noticed() {
    let kernel = |globals: &str, size: &str, body: &str| {
        format!("{globals}\n@compute @workgroup_size({size})\nfn main() {{ {body} }}")
    };
    let buffer = |i: usize| format!("@group(0) @binding({i}) var<storage, read_write> b{i}: array<f32>;\n");
    let nine: String = (0..9).map(buffer).collect();
    let nine_used: String = (0..9).map(|i| format!("b{i}[0] = 1.0; ")).collect();
    let cases = [
        (kernel("#if A == 1", "1", ""), "`#` is left over"),
        (kernel("", "{{WG_X}}", ""), "`{{` is left over"),
        (kernel("", "1", "let x = 1u + 1.5;"), "error"),
        (kernel(&buffer(0), "1", ""), "`b0` is declared and not used"),
        (kernel(&nine, "1", &nine_used), "binds 9 storage buffers"),
        (kernel("var<workgroup> w: array<f32, 4097>;", "1", "w[0] = 1.0;"), "16388 bytes"),
        (kernel("", "16, 17", ""), "a workgroup of 16x17x1"),
        (kernel("enable f16;", "1", "let x = 1.0h;"), "error"),
    ];
    for (source, expected) in cases {
        let faults = faults(&source, EVERYWHERE).join("\n");
        assert!(faults.contains(expected), "{source}\ngave: {faults}");
    }
    let good = kernel(&buffer(0), "64", "b0[0] = 1.0; // # in a comment\n");
    assert!(faults(&good, EVERYWHERE).is_empty());
}
