//! Which files hold the weights of a part: the names that diffusers and transformers give them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::source::{MAX_VOCABULARY_BYTES, Source, parse_json, read_to_string};
use crate::error::{Error, Result};

/// Names before the extension: `WEIGHTS_NAME` of diffusers, then of transformers.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];

/// Files that may run code when they are opened.
const PICKLES: [&str; 5] = [
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
    "pytorch_model.bin",
    "pytorch_model.fp16.bin",
    "diffusion_pytorch_model.ckpt",
];

/// Most files that one part may be spread over.
const MAX_SHARDS: usize = 256;

/// Which variant to take where a part is there in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefer {
    /// The files without a variant in their name.
    Full,
    /// The `.fp16.` files, of half the size.
    Half,
}

/// Where the weights of a part are.
pub(super) enum Found {
    /// In one file.
    Single(String),
    /// In several.
    Sharded {
        /// Path of the index.
        index: String,
        /// File name in the same folder by tensor name.
        weight_map: BTreeMap<String, String>,
    },
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Names to try, best first.
fn candidates(prefer: Prefer) -> Vec<String> {
    let full = [".safetensors", ".safetensors.index.json"];
    let half = [".fp16.safetensors", ".safetensors.index.fp16.json", ".fp16.safetensors.index.json"];
    let endings: Vec<&str> = match prefer {
        Prefer::Full => full.into_iter().chain(half).collect(),
        Prefer::Half => half.into_iter().chain(full).collect(),
    };
    endings.iter().flat_map(|ending| STEMS.map(|stem| format!("{stem}{ending}"))).collect()
}

pub(super) async fn find(source: &dyn Source, folder: &str, prefer: Prefer) -> Result<Found> {
    for name in candidates(prefer) {
        let path = format!("{folder}/{name}");
        if name.ends_with(".json") {
            if let Some(text) = read_to_string(source, &path, MAX_VOCABULARY_BYTES).await? {
                let Index { weight_map } = parse_json(&path, &text)?;
                check(&path, &weight_map)?;
                return Ok(Found::Sharded { index: path, weight_map });
            }
        } else if source.size(&path).await?.is_some() {
            return Ok(Found::Single(path));
        }
    }
    for name in PICKLES {
        let file = format!("{folder}/{name}");
        if source.size(&file).await?.is_some() {
            let supported = "safetensors weights only: opening a pickle can run code".to_owned();
            return Err(Error::UnsupportedClass { file, class: "pickle".to_owned(), supported });
        }
    }
    let stem = if folder.starts_with("text_encoder") { "model" } else { "diffusion_pytorch_model" };
    Err(Error::FileNotFound { file: format!("{folder}/{stem}.safetensors") })
}

fn check(index: &str, weight_map: &BTreeMap<String, String>) -> Result<()> {
    let refuse = |reason: String| {
        Err(Error::Config { file: index.to_owned(), field: "weight_map".to_owned(), reason })
    };
    let mut shards: Vec<&String> = weight_map.values().collect();
    shards.sort_unstable();
    shards.dedup();
    if shards.len() > MAX_SHARDS {
        return refuse(format!("names {} files, more than {MAX_SHARDS}", shards.len()));
    }
    match shards.iter().find(|shard| shard.contains(['/', '\\']) || !shard.ends_with(".safetensors")) {
        Some(shard) => refuse(format!("names `{shard}`, which is no safetensors file of the same folder")),
        None => Ok(()),
    }
}
