//! The text encoders of a checkpoint under the names of transformers' `CLIPTextModel`: OpenAI's CLIP, which has them
//! already, and OpenCLIP (`open_clip/transformer.py`; `convert_open_clip_checkpoint` in diffusers'
//! `loaders/single_file_utils.py`).

use std::collections::BTreeMap;

use super::checkpoint::{Checkpoint, count, numbered};
use super::part::Renamed;
use crate::error::{Error, Result};
use crate::weights::safetensors::TensorInfo;

const TEXT_MODEL: &str = "text_model.";

/// The last of the 24 layers of Stable Diffusion 2's encoder, which is not used: the UNet attends to the output of the
/// last but one (`SD_2_TEXT_ENCODER_KEYS_TO_IGNORE`). Many files lack it.
const UNUSED_LAYER: usize = 23;

/// Width of an attention head, in every published encoder.
const HEAD_WIDTH: usize = 64;

const OPEN_CLIP: [(&str, &str); 4] = [
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
    ("ln_final.weight", "text_model.final_layer_norm.weight"),
    ("ln_final.bias", "text_model.final_layer_norm.bias"),
];

const OPEN_CLIP_LAYER: [(&str, &str); 5] = [
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
    ("attn.out_proj.", "self_attn.out_proj."),
];

/// OpenCLIP has the three projections one above the other.
const PROJECTIONS: [&str; 3] = ["q_proj", "k_proj", "v_proj"];

/// Which encoder of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// OpenAI's.
    Clip,
    /// OpenCLIP's, of Stable Diffusion 2.
    OpenClip,
    /// OpenCLIP's with its projection, the second of SDXL.
    OpenClipProjected,
}

/// An encoder in a checkpoint: which, and the prefix of its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: Kind,
    prefix: &'static str,
}

/// Where encoders may be, by the tensors that show them; the first that is there counts.
const FIRST: [(&str, Kind); 4] = [
    ("cond_stage_model.transformer.", Kind::Clip),
    ("conditioner.embedders.0.transformer.", Kind::Clip),
    ("cond_stage_model.model.", Kind::OpenClip),
    // Stable Diffusion 2 as the tools for SDXL write it.
    ("conditioner.embedders.0.model.", Kind::OpenClip),
];
const SECOND: [(&str, Kind); 1] = [("conditioner.embedders.1.model.", Kind::OpenClipProjected)];

/// What an encoder is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Structure {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) projection_dim: Option<usize>,
    pub(super) hidden_act: &'static str,
}

/// The encoder that every model has.
pub(super) fn first(checkpoint: &Checkpoint<'_>) -> Option<Place> {
    find(checkpoint, &FIRST)
}

/// The second one of SDXL.
pub(super) fn second(checkpoint: &Checkpoint<'_>) -> Option<Place> {
    find(checkpoint, &SECOND)
}

fn find(checkpoint: &Checkpoint<'_>, places: &[(&'static str, Kind)]) -> Option<Place> {
    let found = places.iter().find(|(prefix, _)| !checkpoint.below(prefix).is_empty());
    found.map(|&(prefix, kind)| Place { kind, prefix })
}

/// Reads the structure of an encoder, and its tensors under their new names.
///
/// # Errors
/// [`Error::MissingTensor`]; [`Error::UnsupportedClass`] for a tensor that cannot be cut or turned as it must be.
pub(super) fn read(checkpoint: &Checkpoint<'_>, place: Place) -> Result<(Structure, Vec<Renamed>)> {
    let mut renamed = Vec::new();
    for (name, info) in checkpoint.below(place.prefix) {
        let new = match place.kind {
            Kind::Clip => Some(vec![Renamed::whole(clip(name), info)]),
            Kind::OpenClip | Kind::OpenClipProjected => open_clip(place.kind, name, info),
        };
        renamed.extend(new.ok_or_else(|| unsupported(checkpoint, &format!("{}{name}", place.prefix)))?);
    }
    Ok((structure(checkpoint, place, &renamed)?, renamed))
}

fn unsupported(checkpoint: &Checkpoint<'_>, tensor: &str) -> Error {
    checkpoint
        .unsupported(tensor, "the text encoders of Stable Diffusion 1, 2 and XL, where it has another shape")
}

/// Old files lack the name of the one member of `CLIPTextModel`.
fn clip(name: &str) -> String {
    let outside = name.starts_with(TEXT_MODEL) || name.starts_with("text_projection");
    if outside { name.to_owned() } else { format!("{TEXT_MODEL}{name}") }
}

/// The tensors that one of OpenCLIP's becomes; none for one that is not needed, `None` for one of a wrong shape.
fn open_clip(kind: Kind, name: &str, info: &TensorInfo) -> Option<Vec<Renamed>> {
    if let Some((_, new)) = OPEN_CLIP.iter().find(|(old, _)| *old == name) {
        return Some(vec![Renamed::whole(*new, info)]);
    }
    if let Some(rest) = name.strip_prefix("transformer.resblocks.") {
        let (layer, rest) = numbered(rest)?;
        let unused = kind == Kind::OpenClip && layer == UNUSED_LAYER;
        return if unused { Some(Vec::new()) } else { open_clip_layer(layer, rest, info) };
    }
    match (kind, name) {
        (Kind::OpenClipProjected, "text_projection") => {
            Some(vec![Renamed::transpose("text_projection.weight", info)?])
        }
        (Kind::OpenClipProjected, "text_projection.weight") => Some(vec![Renamed::whole(name, info)]),
        _ => Some(Vec::new()),
    }
}

fn open_clip_layer(layer: usize, rest: &str, info: &TensorInfo) -> Option<Vec<Renamed>> {
    let layer = format!("text_model.encoder.layers.{layer}");
    if let Some(leaf) = rest.strip_prefix("attn.in_proj_") {
        let name = |projection| format!("{layer}.self_attn.{projection}.{leaf}");
        let part = |(index, projection)| Renamed::rows(name(projection), info, index, PROJECTIONS.len());
        return PROJECTIONS.into_iter().enumerate().map(part).collect();
    }
    let new =
        OPEN_CLIP_LAYER.iter().find_map(|(old, new)| Some(format!("{new}{}", rest.strip_prefix(old)?)))?;
    Some(vec![Renamed::whole(format!("{layer}.{new}"), info)])
}

fn structure(checkpoint: &Checkpoint<'_>, place: Place, renamed: &[Renamed]) -> Result<Structure> {
    let shape = |name: &str| renamed.iter().find(|tensor| tensor.name() == name).map(Renamed::shape);
    let size = |name: &str, dimension: usize| {
        let missing = || Error::MissingTensor { file: checkpoint.file.to_owned(), tensor: name.to_owned() };
        shape(name).and_then(|shape| shape.get(dimension)).copied().ok_or_else(missing)
    };
    let numbers =
        renamed.iter().filter_map(|tensor| tensor.name().strip_prefix("text_model.encoder.layers."));
    let layers: BTreeMap<usize, ()> = numbers.filter_map(|rest| Some((numbered(rest)?.0, ()))).collect();
    let gap = || unsupported(checkpoint, &format!("{}* with a layer left out", place.prefix));
    let num_hidden_layers = count(&layers).ok_or_else(gap)?;
    let tokens = "text_model.embeddings.token_embedding.weight";
    let hidden_size = size(tokens, 1)?;
    Ok(Structure {
        vocab_size: size(tokens, 0)?,
        hidden_size,
        intermediate_size: size("text_model.encoder.layers.0.mlp.fc1.weight", 0)?,
        num_hidden_layers,
        num_attention_heads: (hidden_size / HEAD_WIDTH).max(1),
        max_position_embeddings: size("text_model.embeddings.position_embedding.weight", 0)?,
        projection_dim: match place.kind {
            Kind::OpenClipProjected => Some(size("text_projection.weight", 0)?),
            Kind::Clip | Kind::OpenClip => None,
        },
        hidden_act: if place.kind == Kind::Clip { "quick_gelu" } else { "gelu" },
    })
}
