//! Checkpoints that were packed as one file against those that were packed part by part.

#[path = "support/single_file.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod single_file;
#[path = "support/transcode.rs"]
mod transcode;

use std::collections::BTreeMap;

use cubecl::future::block_on;
use easel::quantization::Policy;
use easel::weights::pack::{import_part, pack_part};
use easel::weights::safetensors::read_header;
use easel::weights::single_file::{Companions, Prediction, SingleFileSource};
use easel::weights::source::{MAX_VOCABULARY_BYTES, MemorySource, Source, read_bytes, read_json};
use serde_json::{Value, json};
use single_file::{Raw, TestResult, checkpoint, file, read};
use transcode::packed;

const FILE: &str = "x.safetensors";
const WEIGHTS: [&str; 4] = [
    "text_encoder/model.safetensors",
    "text_encoder_2/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
];

fn open(bytes: Vec<u8>, companions: Companions) -> TestResult<SingleFileSource> {
    let mut source = MemorySource::default();
    source.insert(FILE, bytes);
    Ok(block_on(SingleFileSource::open(Box::new(source), FILE, companions))?)
}

fn with_merges() -> TestResult<Companions> {
    let merges = std::fs::read_to_string(format!("{}/../../assets/clip/merges.txt", single_file::GOLDENS))?;
    Ok(Companions { merges, ..Companions::default() })
}

/// The tensors of all weights files, as `path:name`.
fn tensors(source: &dyn Source) -> TestResult<BTreeMap<String, Raw>> {
    let mut found = BTreeMap::new();
    for path in WEIGHTS {
        if block_on(source.size(path))?.is_none() {
            continue;
        }
        for (name, info) in block_on(read_header(source, path))?.tensors {
            found.insert(format!("{path}:{name}"), read(source, path, &info)?);
        }
    }
    Ok(found)
}

#[test]
fn a_packed_checkpoint_is_the_folder_that_its_parts_are_packed_to() -> TestResult {
    for name in ["sd1", "sd2", "sdxl", "ssd-1b", "lcm", "bk"] {
        let mut made = checkpoint(name)?;
        let unused =
            Raw { dtype: easel::weights::safetensors::Dtype::F16, shape: vec![3], bytes: vec![1; 6] };
        // What no model reads, before, between and after what it reads.
        for other in ["alphas_cumprod", "model_ema.a", "zeta"] {
            made.insert(other.to_owned(), unused.clone());
        }
        let bytes = file(&made, &json!({}))?;
        let whole = packed(&bytes, 100_000)?;
        let original = open(bytes.clone(), with_merges()?)?;
        let mut folder = MemorySource::default();
        for path in WEIGHTS {
            if block_on(original.size(path))?.is_some() {
                let part = path.split('/').next().unwrap_or_default();
                block_on(pack_part(&original, part, &Policy::Mixed, u64::MAX, &mut folder))?;
            }
        }
        let shown = open(whole.clone(), with_merges()?)?;
        assert_eq!(block_on(shown.texts())?, block_on(original.texts())?, "{name}");
        for path in block_on(original.texts())? {
            let text = |source| block_on(read_bytes(source, &path, MAX_VOCABULARY_BYTES));
            assert_eq!(text(&shown)?, text(&original)?, "{name}: {path}");
        }
        assert!(tensors(&shown)? == tensors(&folder)?, "{name}");
        assert!(packed(&bytes, 77)? == whole, "{name} in other pieces");
        assert!(packed(&whole, 1000).is_err(), "there is nothing more to pack");
        let mut copy = MemorySource::default();
        block_on(import_part(&shown, "unet", &Policy::Mixed, u64::MAX, &mut copy))?;
        assert!(
            tensors(&copy)?.iter().all(|(name, raw)| tensors(&folder).is_ok_and(|all| all[name] == *raw))
        );
    }
    Ok(())
}

#[test]
fn the_prediction_is_found_out_after_packing_too() -> TestResult {
    let found = |bytes: &[u8], prediction: Option<Prediction>| -> TestResult<String> {
        let companions = Companions { prediction, ..Companions::default() };
        let config: Value = block_on(read_json(
            &open(packed(bytes, 50_000)?, companions)?,
            "scheduler/scheduler_config.json",
        ))?;
        Ok(config["prediction_type"].as_str().unwrap_or_default().to_owned())
    };
    let mut sd2 = checkpoint("sd2")?;
    let bias = "model.diffusion_model.output_blocks.5.1.transformer_blocks.0.norm1.bias";
    for (spread, expected) in [(0.08_f32, "epsilon"), (0.1, "v_prediction")] {
        let raw = sd2.get_mut(bias).ok_or("the bias")?;
        let alternating = (0..raw.bytes.len() / 4).map(|i| 1.0 + if i % 2 == 0 { spread } else { -spread });
        raw.bytes = alternating.flat_map(f32::to_le_bytes).collect();
        assert_eq!(found(&file(&sd2, &json!({}))?, None)?, expected, "a spread of {spread}");
    }
    let said = file(&sd2, &json!({ "modelspec.prediction_type": "epsilon" }))?;
    assert_eq!(found(&said, None)?, "epsilon");
    assert_eq!(found(&said, Some(Prediction::Velocity))?, "v_prediction");
    Ok(())
}
