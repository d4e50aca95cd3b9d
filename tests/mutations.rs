//! Thousands of changed files into every reader of files: an error or a model, never a panic, and never more memory than
//! a small factor of what came in. `npm test` runs it with checks of arithmetic, as `docs/quantization.md` says how to.
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

#[path = "support/single_file.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod single_file;
#[path = "support/transcode.rs"]
mod transcode;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cubecl::future::block_on;
use easel::pipeline::Description;
use easel::quantization::Policy;
use easel::weights::manifest::Manifest;
use easel::weights::pack::pack_part;
use easel::weights::pack::transcoder::Transcoder;
use easel::weights::single_file::{Companions, SingleFileSource};
use easel::weights::source::{MemorySource, Source as _};
use easel::weights::{Prefer, Weights};
use single_file::{GOLDENS, TestResult};

/// Notes the largest piece of memory that a thread asks for.
struct Counting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Most bytes of one piece of memory: tables of a fixed size, and a factor of the input. A number of q4 has half a byte
/// and becomes one of f32; growing doubles.
fn bound(input: usize) -> usize {
    (4 << 20) + 32 * input
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// What readers of JSON stumble over.
const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "31",
    "33",
    "4294967296",
    "18446744073709551615",
    "9223372036854775807",
    "1e999",
    "0.5",
    "null",
    "true",
    "\"\"",
    "\"x\"",
    "[]",
    "{}",
    "[0,0]",
    "[1,18446744073709551615]",
    "[[[[",
    "\"../x\"",
    "\"F16\"",
    "\"U32\"",
    "\"q4\"",
    ",",
    ":",
    "\u{0}",
    "é",
    "\\u0000",
];

/// One to four changes: bytes, cuts, copies, numbers and words in the place of others.
fn changed(random: &mut Random, original: &[u8], text: std::ops::Range<usize>) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..=random.below(4) {
        let end = text.end.min(bytes.len());
        let at = text.start.min(end) + random.below(end.saturating_sub(text.start));
        let length = random.below(12).min(end.saturating_sub(at));
        match random.below(8) {
            0 => drop(bytes.splice(at..at + length, [])),
            1 => {
                let copy = bytes[at..at + length].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            2 => bytes.truncate(at),
            3 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
            4 => {
                let others = bytes[text.start.min(end)..end].to_vec();
                let from = random.below(others.len().saturating_sub(length));
                drop(bytes.splice(at..at + length, others[from..from + length].to_vec()));
            }
            _ => {
                // A whole number, where there is one.
                let is_digit = |byte: &u8| byte.is_ascii_digit();
                let start = bytes[at..end].iter().position(is_digit).map_or(at, |skip| at + skip);
                let stop = start + bytes[start..end].iter().take_while(|byte| is_digit(byte)).count();
                drop(bytes.splice(start..stop, random.pick(WORDS).bytes()));
            }
        }
    }
    bytes
}

/// Reads `count` changed forms of a file.
fn trials(name: &str, count: usize, original: &[u8], text: std::ops::Range<usize>, read: impl Fn(Vec<u8>)) {
    for seed in 0..count {
        let bytes = changed(&mut Random(seed as u64), original, text.clone());
        let size = bytes.len().max(original.len());
        LARGEST.set(0);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(bytes)));
        assert!(result.is_ok(), "{name}: seed {seed} panics");
        let largest = LARGEST.get();
        assert!(largest <= bound(size), "{name}: seed {seed} asks for {largest} bytes to read {size}");
    }
}

fn golden(model: &str) -> TestResult<BTreeMap<String, Vec<u8>>> {
    let root = Path::new(GOLDENS).join("models").join(model);
    let mut files = BTreeMap::new();
    for folder in fs::read_dir(&root)? {
        let folder = folder?.path();
        let entries = if folder.is_dir() { fs::read_dir(&folder)?.collect() } else { Vec::new() };
        for path in
            entries.into_iter().map(|entry| entry.map(|entry| entry.path())).chain([Ok(folder.clone())])
        {
            let path = path?;
            if path.is_file() {
                files.insert(path.strip_prefix(&root)?.to_string_lossy().into_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(files)
}

fn source(files: &BTreeMap<String, Vec<u8>>) -> MemorySource {
    let mut source = MemorySource::default();
    files.iter().for_each(|(path, bytes)| source.insert(path.clone(), bytes.clone()));
    source
}

/// The range of a safetensors file's header, length field included.
fn header(bytes: &[u8]) -> std::ops::Range<usize> {
    let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    0..(length as usize).saturating_add(8)
}

/// Reads all that a file of weights holds.
fn read_all(source: &MemorySource, folder: &str) {
    let Ok(weights) = block_on(Weights::open(source, folder, Prefer::Full)) else { return };
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    for name in names {
        let shape = weights.shape(&name).unwrap_or_default().to_vec();
        let _ = block_on(weights.read_f32(&name, &shape));
        let _ = block_on(weights.read_packed(&name, &shape));
        if let [rows, width] = *shape {
            let _ =
                block_on(weights.read_rows_f32(&name, [rows, width], &[0, rows / 2, rows.saturating_sub(1)]));
        }
    }
}

const TEXT: &str = "text_encoder/model.safetensors";

#[test]
fn weights_and_their_packed_form() -> TestResult {
    let files = source(&golden("sd1")?);
    let mut packed = MemorySource::default();
    block_on(pack_part(&files, "text_encoder", &Policy::Mixed, u64::MAX, &mut packed))?;
    for (name, source) in [("weights", files), ("packed weights", packed)] {
        let size = block_on(source.size(TEXT))?.ok_or("a size")?;
        let bytes = block_on(source.read(TEXT, 0..size))?;
        trials(name, 4000, &bytes, header(&bytes), |bytes| {
            let mut source = MemorySource::default();
            source.insert(TEXT, bytes);
            read_all(&source, "text_encoder");
        });
    }
    Ok(())
}

#[test]
fn transcoding() -> TestResult {
    let bytes = golden("sd1")?.remove(TEXT).ok_or("weights")?;
    let mut random = Random(1);
    let pieces: Vec<usize> = (0..64).map(|_| 1 + random.below(5000)).collect();
    trials("transcoder", 4000, &bytes, header(&bytes), |bytes| {
        let header = bytes.get(header(&bytes)).unwrap_or_default();
        let size = bytes.len() as u64;
        let Ok(Some(mut transcoder)) =
            Transcoder::of_part(TEXT, header, size, "text_encoder", &Policy::Mixed)
        else {
            return;
        };
        let output = transcoder.output_size() / (1 + size % 5);
        let _ = transcoder.begin(output, Some(size / 7));
        let Ok(start) = transcoder.begin(output, None) else { return };
        let mut rest = bytes.get(start.source as usize..).unwrap_or_default();
        for piece in pieces.iter().cycle() {
            while let Ok(Some(_)) = transcoder.take() {}
            let Ok(used) = transcoder.push(&rest[..(*piece).min(rest.len())]) else { return };
            rest = &rest[used..];
            if rest.is_empty() {
                return;
            }
        }
    });
    Ok(())
}

#[test]
fn manifests_indexes_and_configs() -> TestResult {
    let manifest = br#"{"version": 1, "files": [{"path": "a/b.json", "size": 12, "sha256":
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "chunk_size": 5, "chunk_sha256": []}]}"#;
    trials("manifest.json", 10_000, manifest, 0..manifest.len(), |bytes| {
        let mut source = MemorySource::default();
        source.insert(Manifest::FILE, bytes);
        if let Ok(Some(manifest)) = block_on(Manifest::read(&source)) {
            let _ = block_on(manifest.verify(&source));
        }
    });
    let files = golden("fp16")?;
    let index = files.keys().find(|path| path.contains(".index.")).ok_or("an index")?.clone();
    trials("index", 2000, &files[&index], 0..files[&index].len(), |bytes| {
        let mut source = source(&files);
        source.insert(index.clone(), bytes);
        read_all(&source, "unet");
    });
    for model in ["sd1", "sdxl", "bk"] {
        let mut files = golden(model)?;
        files.retain(|path, _| !path.ends_with(".safetensors"));
        for (path, original) in
            files.iter().filter(|(path, _)| path.contains("config") || !path.contains('/'))
        {
            trials(path, 500, original, 0..original.len(), |bytes| {
                let mut source = source(&files);
                source.insert(path.clone(), bytes);
                if let Ok(description) = block_on(Description::read(&source)) {
                    let _ = (description.sizes(), description.defaults(), description.parts());
                }
            });
        }
    }
    Ok(())
}

#[test]
fn tokenizers() -> TestResult {
    for model in ["sd1", "sdxl", "bk"] {
        let mut files = golden(model)?;
        files.retain(|path, _| !path.ends_with(".safetensors"));
        let description = block_on(Description::read(&source(&files)))?;
        for (path, original) in files.iter().filter(|(path, _)| path.starts_with("tokenizer/")) {
            trials(path, 300, original, 0..original.len(), |bytes| {
                let mut source = source(&files);
                source.insert(path.clone(), bytes);
                if let Ok((tokenizer, _)) = block_on(description.tokenizers(&source)) {
                    let _ =
                        tokenizer.encode("a red fox, (very:1.2) \u{1f98a}").map(|ids| tokenizer.frame(&ids));
                }
            });
        }
    }
    Ok(())
}

#[test]
fn checkpoints() -> TestResult {
    for model in ["sd1", "sd2", "sdxl"] {
        let bytes = single_file::file(&single_file::checkpoint(model)?, &serde_json::json!({}))?;
        // The tensors themselves are as long as the header says, or the file is refused at once.
        trials(model, 700, &bytes, header(&bytes), read_checkpoint);
        let packed = transcode::packed(&bytes, 100_000)?;
        trials(&format!("packed {model}"), 400, &packed, header(&packed), read_checkpoint);
        trials(&format!("packing {model}"), 200, &bytes, header(&bytes), |bytes| {
            let _ = transcode::packed(&bytes, 100_000);
        });
    }
    Ok(())
}

fn read_checkpoint(bytes: Vec<u8>) {
    let mut source = MemorySource::default();
    source.insert("x.safetensors", bytes);
    let opened = SingleFileSource::open(Box::new(source), "x.safetensors", Companions::default());
    let Ok(folder) = block_on(opened) else { return };
    let _ = block_on(Description::read(&folder));
    for part in ["unet", "vae", "text_encoder", "text_encoder_2"] {
        let Ok(weights) = block_on(Weights::open(&folder, part, Prefer::Full)) else { continue };
        for (name, info) in weights.tensors() {
            let _ = block_on(weights.read_f32(name, weights.shape(name).unwrap_or(&info.shape)));
        }
    }
}
