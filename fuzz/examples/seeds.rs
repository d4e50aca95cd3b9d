//! Writes what each fuzz target begins with, made from the tests' golden models: `seeds FOLDER`.

#[path = "../../tests/support/single_file.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod single_file;
#[path = "../../tests/support/transcode.rs"]
mod transcode;

use std::fs;
use std::path::{Path, PathBuf};

use cubecl::future::block_on;
use easel::quantization::{Policy, Quant};
use easel::weights::pack::pack_part;
use easel::weights::source::{FolderSource, MemorySource, Source as _};
use easel_fuzz::files::{GOLDENS, texts};
use single_file::TestResult;

const WEIGHTS: &str = "text_encoder/model.safetensors";
const MODELS: [&str; 3] = ["sd1", "sdxl", "bk"];
const MANIFEST: &str = r#"{"version": 1, "files": [{"path": "a/b.json", "size": 12, "sha256":
"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "chunk_size": 5, "chunk_sha256": []}]}"#;
const PROMPTS: [&str; 6] = [
    "a red fox, (very:1.2) [small] ((big))",
    r"\(escaped\) a:b (a:-1) (b:1e9)",
    "<lora:name:0.8> <lora:x> <lora:a:b:c> < lora",
    "a BREAK b",
    "((((a))))",
    "\u{1f98a} <lora:\u{1f98a}:1>",
];

/// Where seeds go; they are named by number.
struct Seeds {
    root: PathBuf,
}

impl Seeds {
    fn add(&self, target: &str, bytes: &[u8]) -> TestResult {
        let folder = self.root.join(target);
        fs::create_dir_all(&folder)?;
        let number = fs::read_dir(&folder)?.count();
        Ok(fs::write(folder.join(format!("{number:03}")), bytes)?)
    }

    /// A header for the readers of weights, and for the transcoder behind its choice.
    fn add_weights(&self, file: &[u8]) -> TestResult {
        let header = header(file)?;
        self.add("weights", header)?;
        self.add("transcoder", &[&[128], header].concat())
    }
}

fn header(file: &[u8]) -> TestResult<&[u8]> {
    let (length, rest) = file.split_first_chunk().ok_or("a file without a header")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    Ok(rest.get(..length).ok_or("a cut header")?)
}

fn weights(seeds: &Seeds) -> TestResult {
    let source = FolderSource::new(Path::new(GOLDENS).join("models/sd1"));
    let size = block_on(source.size(WEIGHTS))?.ok_or("no weights")?;
    seeds.add_weights(&block_on(source.read(WEIGHTS, 0..size))?)?;
    for policy in [Policy::Mixed, Policy::Uniform(Quant::Q8)] {
        let mut packed = MemorySource::default();
        block_on(pack_part(&source, "text_encoder", &policy, u64::MAX, &mut packed))?;
        seeds.add_weights(packed.file_mut(WEIGHTS))?;
    }
    for entry in fs::read_dir(Path::new(GOLDENS).join("loras"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") && !name.starts_with("run-") {
            seeds.add("lora", header(&fs::read(path)?)?)?;
        }
    }
    Ok(())
}

fn checkpoints(seeds: &Seeds) -> TestResult {
    for model in ["sd1", "sd2", "sdxl"] {
        let file = single_file::file(&single_file::checkpoint(model)?, &serde_json::json!({}))?;
        seeds.add("checkpoint", header(&file)?)?;
        seeds.add("checkpoint", header(&transcode::packed(&file, 100_000)?)?)?;
        seeds.add("checkpoint_transcoder", &[&[128], header(&file)?].concat())?;
    }
    Ok(())
}

fn changed_texts(seeds: &Seeds) -> TestResult {
    for (model, name) in (0..).zip(MODELS) {
        let files = texts(name)?;
        let (tokenizer, others): (Vec<_>, Vec<_>) =
            files.iter().partition(|(path, _)| path.starts_with("tokenizer"));
        for (target, files) in [("tokenizer", tokenizer), ("configs", others)] {
            for (number, (_, bytes)) in (0..).zip(files) {
                seeds.add(target, &[&[model, number], bytes.as_slice()].concat())?;
            }
        }
    }
    Ok(())
}

fn main() -> TestResult {
    let root = std::env::args_os().nth(1).ok_or("say where to: seeds FOLDER")?.into();
    let seeds = Seeds { root };
    weights(&seeds)?;
    checkpoints(&seeds)?;
    changed_texts(&seeds)?;
    seeds.add("manifest", MANIFEST.as_bytes())?;
    PROMPTS.iter().try_for_each(|prompt| seeds.add("prompt", prompt.as_bytes()))
}
