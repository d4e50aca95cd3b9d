//! The rules of ARCHITECTURE.md that a compiler does not know.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot read the sources has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Top-level modules of the crate with what each may use of the others. Those that are not listed (`web`, the command
/// line) sit on top and may use anything.
const ARROWS: [(&str, &[&str]); 13] = [
    ("error", &[]),
    ("random", &["error"]),
    ("sampler", &["error"]),
    ("hardware", &["error", "kernel"]),
    ("quantization", &["error"]),
    ("weights", &["error", "quantization"]),
    ("config", &["error", "weights::source"]),
    ("tokenizer", &["error", "weights::source"]),
    ("prompt", &["error", "tokenizer"]),
    ("kernel", &["quantization"]),
    ("model", &["config", "error", "kernel", "weights"]),
    (
        "pipeline",
        &[
            "config",
            "error",
            "hardware",
            "kernel",
            "model",
            "prompt",
            "random",
            "sampler",
            "tokenizer",
            "weights",
        ],
    ),
    ("lib", &[]),
];

/// Only `web` may know that there is JavaScript.
const JAVASCRIPT: [&str; 7] = [
    "wasm_bindgen",
    "wasm-bindgen",
    "js_sys",
    "web_sys",
    "serde_wasm_bindgen",
    "console_error_panic_hook",
    "JsValue",
];

const LONGEST_FILE: usize = 500;

fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        {
            let path = entry.expect("an entry").path();
            let generated =
                path.ends_with("www/pkg") || path.ends_with("target") || path.ends_with("node_modules");
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if path.is_dir() && !generated {
                folders.push(path);
            } else if extensions.contains(&extension) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{folder}: no files");
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Path below `crate/src`, with `/`.
fn below_src(path: &Path) -> String {
    let rest = path.strip_prefix(Path::new(ROOT).join("crate/src")).expect("a file of the crate");
    rest.to_string_lossy().replace('\\', "/")
}

/// The program without comments, and without unit tests, which come last.
fn program(text: &str) -> String {
    let program = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = program.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Paths after `crate::`, groups resolved: `a::b` and `a::c` for `crate::a::{b, c}`.
fn references(program: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in program.split("crate::").skip(1) {
        use_tree(rest, "", &mut found);
    }
    found
}

/// Reads one tree of a `use`, adds its paths, and returns what follows.
fn use_tree<'a>(text: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (path, mut rest) = text.split_at(end);
    let path = format!("{prefix}{path}");
    if !rest.starts_with('{') {
        found.push(path);
        return rest;
    }
    while let Some(inner) = rest.strip_prefix(['{', ',']) {
        if inner.trim_start().starts_with('}') {
            rest = inner.trim_start();
            break;
        }
        rest = use_tree(inner, &path, found).trim_start();
    }
    rest.strip_prefix('}').unwrap_or(rest)
}

fn may_use(module: &str, path: &str) -> bool {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else { return true };
    let inside = |parent: &str| path == parent || path.starts_with(&format!("{parent}::"));
    inside(module) || allowed.iter().any(|parent| inside(parent))
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in files("crate/src", &["rs"]) {
        let file = below_src(&path);
        let module = file.split(['/', '.']).next().unwrap_or_default().to_owned();
        if file.ends_with("tests.rs") {
            continue;
        }
        let program = program(&text(&path));
        // Above the top-level modules, `super` would be a second name for `crate`.
        let top = file.matches('/').count() == 0 || file.ends_with("/mod.rs");
        if program.contains("super::super::") || (top && program.contains("super::")) {
            wrong.push(format!("{file} hides what it uses behind `super`"));
        }
        for reference in references(&program) {
            if !may_use(&module, &reference) {
                wrong.push(format!("{file} uses `{reference}`"));
            }
        }
        seen.insert(module);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (module, _) in ARROWS {
        assert!(seen.contains(module), "the module `{module}` of the rule does not exist");
    }
}

#[test]
fn only_web_knows_javascript() {
    for path in files("crate/src", &["rs"]) {
        let file = below_src(&path);
        let program = program(&text(&path));
        if !file.starts_with("web/") {
            let known = JAVASCRIPT.iter().find(|name| program.contains(**name));
            assert!(known.is_none(), "{file} mentions {known:?}");
        }
    }
}

#[test]
fn files_are_short() {
    let code: &[&str] = &["rs", "wgsl", "ts", "mjs", "css"];
    for folder in ["crate", "shaders", "tests", "tools", "www"] {
        for path in files(folder, code) {
            let lines = text(&path).lines().count();
            assert!(lines <= LONGEST_FILE, "{}: {lines} lines, at most {LONGEST_FILE}", path.display());
        }
    }
}

/// Numbers in file names say nothing; what the file does differently does.
#[test]
fn shaders_are_named_for_what_they_do() {
    for path in files("shaders", &["wgsl"]) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let word = |part: &str| part.chars().all(|c| c.is_ascii_lowercase()) || part == "conv2d";
        assert!(name.split('_').all(word), "{}: words only, no versions", path.display());
    }
}

#[test]
fn the_rule_sees_references() {
    let program = program(
        "use crate::error::{Error, Result};\nuse crate::{weights::{source::Source,}, config};\n// crate::web\n\
         pub(crate) fn f() -> crate::random::X {}\n#[cfg(test)]\nmod tests {\nuse crate::pipeline;\n}",
    );
    let expected = ["error::Error", "error::Result", "weights::source::Source", "config", "random::X"];
    assert_eq!(references(&program), expected);
    assert!(may_use("config", "weights::source::Source") && !may_use("config", "weights::Weights"));
    assert!(
        may_use("web", "pipeline::Run") && !may_use("kernel", "error::Error") && !may_use("error", "web")
    );
}
