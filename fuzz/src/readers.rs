//! Readers, each on one input.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cubecl::future::block_on;
use easel::error::Result;
use easel::pipeline::Description;
use easel::prompt;
use easel::quantization::Policy;
use easel::weights::lora::LoraFile;
use easel::weights::manifest::Manifest;
use easel::weights::pack::transcoder::Transcoder;
use easel::weights::single_file::{Companions, SingleFileSource};
use easel::weights::source::MemorySource;
use easel::weights::{Prefer, Weights};

use crate::files::{safetensors, source, texts};
use crate::memory::bounded;

const FILE: &str = "text_encoder/model.safetensors";
const CHECKPOINT: &str = "x.safetensors";
/// A transcoder takes pieces of these sizes, over and over.
const PIECES: [usize; 5] = [1, 4096, 77, 1000, 3];

/// Models whose texts are changed: one and two text encoders, and a UNet of few layers.
static MODELS: LazyLock<Vec<BTreeMap<String, Vec<u8>>>> =
    LazyLock::new(|| ["sd1", "sdxl", "bk"].iter().filter_map(|model| texts(model).ok()).collect());

fn file(path: &str, bytes: Vec<u8>) -> MemorySource {
    let mut source = MemorySource::default();
    source.insert(path, bytes);
    source
}

fn read_all(weights: &Weights<'_>) {
    for (name, info) in weights.tensors() {
        let shape = weights.shape(name).unwrap_or(&info.shape);
        let _ = block_on(weights.read_f32(name, shape));
        let _ = block_on(weights.read_packed(name, shape));
        if let [rows, width] = *shape {
            let some = [0, rows / 2, rows.saturating_sub(1)];
            let _ = block_on(weights.read_rows_f32(name, [rows, width], &some));
        }
    }
}

/// The header of a safetensors file, packed or not, and all its tensors.
pub fn weights(header: &[u8]) {
    let source = file(FILE, safetensors(header));
    bounded(header.len() + body(header), || {
        if let Ok(weights) = block_on(Weights::open(&source, "text_encoder", Prefer::Full)) {
            read_all(&weights);
        }
    });
}

/// Bytes of tensors that [`safetensors`] adds to a header.
fn body(header: &[u8]) -> usize {
    safetensors(header).len() - header.len()
}

/// The first byte chooses where to go on from, the rest is the header of a file that arrives in pieces.
pub fn transcoder(input: &[u8]) {
    arriving(input, |header, size| Transcoder::of_part(FILE, header, size, "text_encoder", &Policy::Mixed));
}

/// As [`transcoder`], for a checkpoint in one file.
pub fn checkpoint_transcoder(input: &[u8]) {
    arriving(input, |header, size| Transcoder::of_checkpoint(CHECKPOINT, header, size, &Policy::Mixed));
}

fn arriving(input: &[u8], make: impl FnOnce(&[u8], u64) -> Result<Option<Transcoder>>) {
    let Some((choice, header)) = input.split_first() else { return };
    let bytes = safetensors(header);
    bounded(bytes.len(), || {
        let size = bytes.len() as u64;
        let Ok(Some(mut transcoder)) = make(&bytes[..8 + header.len()], size) else { return };
        let of = |whole: u64| whole * u64::from(*choice) / 255;
        let output = of(transcoder.output_size());
        let _ = transcoder.begin(output, Some(of(size)));
        let Ok(start) = transcoder.begin(output, None) else { return };
        let mut rest = bytes.get(start.source as usize..).unwrap_or_default();
        for piece in PIECES.iter().cycle() {
            while let Ok(Some(_)) = transcoder.take() {}
            let Ok(used) = transcoder.push(&rest[..(*piece).min(rest.len())]) else { return };
            rest = &rest[used..];
            if rest.is_empty() {
                return;
            }
        }
    });
}

/// The header of a checkpoint in one file, packed or not: its layout, the configs that follow from shapes, and all tensors.
pub fn checkpoint(header: &[u8]) {
    let bytes = safetensors(header);
    bounded(bytes.len(), || {
        let source = Box::new(file(CHECKPOINT, bytes));
        let opened = SingleFileSource::open(source, CHECKPOINT, Companions::default());
        let Ok(folder) = block_on(opened) else { return };
        let _ = block_on(Description::read(&folder));
        for part in ["unet", "vae", "text_encoder", "text_encoder_2"] {
            if let Ok(weights) = block_on(Weights::open(&folder, part, Prefer::Full)) {
                read_all(&weights);
            }
        }
    });
}

/// The header of a LoRA file, and the factors of every layer.
pub fn lora(header: &[u8]) {
    let bytes = safetensors(header);
    bounded(bytes.len(), || {
        let source = file(FILE, bytes);
        let Ok(lora) = block_on(LoraFile::open(&source, FILE)) else { return };
        let Ok(weights) = block_on(lora.weights(&source)) else { return };
        for layer in lora.layers() {
            let _ = block_on(lora.numbers(&weights, layer, "unet.conv_in"));
        }
    });
}

/// A manifest, and what it says of a file.
pub fn manifest(text: &[u8]) {
    bounded(text.len(), || {
        let mut source = file(Manifest::FILE, text.to_vec());
        source.insert("a/b.json", "twelve bytes");
        if let Ok(Some(manifest)) = block_on(Manifest::read(&source)) {
            let _ = block_on(manifest.check_sizes(&source));
            let _ = block_on(manifest.verify(&source));
        }
    });
}

/// The first two bytes choose a model and one of its texts, the rest is in that file's place: config, index or scheduler.
pub fn configs(input: &[u8]) {
    with_changed_text(
        input,
        |path| !path.starts_with("tokenizer"),
        |source| {
            if let Ok(description) = block_on(Description::read(source)) {
                let _ =
                    (description.sizes(), description.defaults(), description.parts(), description.sampler());
            }
        },
    );
}

/// As [`configs`], for the files of tokenizers.
pub fn tokenizer(input: &[u8]) {
    with_changed_text(
        input,
        |path| path.starts_with("tokenizer"),
        |source| {
            let Ok(description) = block_on(Description::read(source)) else { return };
            let Ok((tokenizer, _)) = block_on(description.tokenizers(source)) else { return };
            let _ = tokenizer.encode("a red fox, (very:1.2) \u{1f98a}").map(|ids| tokenizer.frame(&ids));
        },
    );
}

fn with_changed_text(input: &[u8], is_one: impl Fn(&str) -> bool, read: impl FnOnce(&MemorySource)) {
    let [model, text, changed @ ..] = input else { return };
    let Some(files) = MODELS.get(usize::from(*model) % MODELS.len().max(1)) else { return };
    let paths: Vec<&String> = files.keys().filter(|path| is_one(path)).collect();
    let Some(path) = paths.get(usize::from(*text) % paths.len().max(1)) else { return };
    let mut source = source(files);
    source.insert(path.as_str(), changed);
    let size = files.values().map(Vec::len).sum::<usize>() + changed.len();
    bounded(size, || read(&source));
}

/// A prompt with its weights and LoRAs.
pub fn prompt(text: &str) {
    bounded(text.len(), || {
        let _ = prompt::parse(text);
    });
}
