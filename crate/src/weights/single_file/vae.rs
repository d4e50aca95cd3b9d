//! The VAE of a checkpoint (`ldm/modules/diffusionmodules/model.py`) under the names of diffusers
//! (`convert_ldm_vae_checkpoint` in `loaders/single_file_utils.py`).

use std::collections::BTreeMap;

use super::checkpoint::{Checkpoint, count, numbered};
use super::part::Renamed;
use crate::error::{Error, Result};

pub(super) const PREFIX: &str = "first_stage_model.";

/// Parts that only training uses.
const TRAINING: [&str; 2] = ["loss.", "model_ema."];

const OUTSIDE: [&str; 2] = ["quant_conv.", "post_quant_conv."];

/// Scripts that were older than diffusers' names of today left those in the checkpoints that they wrote
/// (huggingface/diffusers#4790).
const ATTENTION: [(&str, &str); 9] = [
    ("norm.", "group_norm."),
    ("q.", "to_q."),
    ("k.", "to_k."),
    ("v.", "to_v."),
    ("proj_out.", "to_out.0."),
    ("to_q.", "to_q."),
    ("to_k.", "to_k."),
    ("to_v.", "to_v."),
    ("to_out.0.", "to_out.0."),
];

/// What a VAE is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Structure {
    /// Output channels by stage, from the picture to the latents.
    pub(super) block_out_channels: Vec<usize>,
    pub(super) layers_per_block: usize,
    pub(super) latent_channels: usize,
    pub(super) use_quant_conv: bool,
    pub(super) use_post_quant_conv: bool,
    pub(super) mid_block_add_attention: bool,
}

/// Reads the structure of the VAE, and its tensors under their new names.
///
/// # Errors
/// [`Error::UnsupportedClass`] with a tensor that no such VAE has; [`Error::MissingTensor`].
pub(super) fn read(checkpoint: &Checkpoint<'_>) -> Result<(Structure, Vec<Renamed>)> {
    let structure = structure(checkpoint)?;
    let stages = structure.block_out_channels.len();
    let mut renamed = Vec::new();
    for (name, info) in checkpoint.below(PREFIX) {
        if TRAINING.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        let new = rename(name, stages).ok_or_else(|| unsupported(checkpoint, name))?;
        let is_attention = new.contains(".attentions.");
        renamed.push(if is_attention { Renamed::matrix(new, info) } else { Renamed::whole(new, info) });
    }
    Ok((structure, renamed))
}

fn unsupported(checkpoint: &Checkpoint<'_>, name: &str) -> Error {
    let supported = "the VAEs of Stable Diffusion 1, 2 and XL, which are made otherwise";
    checkpoint.unsupported(format!("{PREFIX}{name}"), supported)
}

fn structure(checkpoint: &Checkpoint<'_>) -> Result<Structure> {
    let mut layers: BTreeMap<usize, BTreeMap<usize, ()>> = BTreeMap::new();
    let tensors = checkpoint.below(PREFIX);
    for rest in tensors.keys().filter_map(|name| name.strip_prefix("decoder.up.")) {
        let block = numbered(rest).and_then(|(stage, rest)| Some((stage, rest.strip_prefix("block.")?)));
        if let Some((stage, (block, _))) = block.and_then(|(stage, rest)| Some((stage, numbered(rest)?))) {
            layers.entry(stage).or_default().insert(block, ());
        }
    }
    let blocks: Option<Vec<usize>> = layers.values().map(count).collect();
    let first = blocks.as_ref().and_then(|blocks| blocks.first()).copied().unwrap_or(0);
    let even = blocks.is_some_and(|blocks| blocks.iter().all(|blocks| *blocks == first && first > 1));
    let stages = count(&layers)
        .filter(|stages| even && *stages > 0)
        .ok_or_else(|| unsupported(checkpoint, "decoder.up.*"))?;
    let channels =
        |stage| checkpoint.dimension(&format!("{PREFIX}decoder.up.{stage}.block.0.conv1.weight"), 0);
    let has = |name: &str| tensors.contains_key(name);
    Ok(Structure {
        block_out_channels: (0..stages).map(channels).collect::<Result<_>>()?,
        layers_per_block: first - 1,
        latent_channels: checkpoint.dimension(&format!("{PREFIX}decoder.conv_in.weight"), 1)?,
        use_quant_conv: has("quant_conv.weight"),
        use_post_quant_conv: has("post_quant_conv.weight"),
        mid_block_add_attention: ["q", "to_q"].iter().any(|q| has(&format!("decoder.mid.attn_1.{q}.weight"))),
    })
}

fn rename(name: &str, stages: usize) -> Option<String> {
    if OUTSIDE.iter().any(|start| name.starts_with(start)) {
        return Some(name.to_owned());
    }
    let (side, rest) = name.split_once('.').filter(|(side, _)| ["encoder", "decoder"].contains(side))?;
    let new = if let Some(rest) = rest.strip_prefix("norm_out.") {
        format!("conv_norm_out.{rest}")
    } else if rest.starts_with("conv_in.") || rest.starts_with("conv_out.") {
        rest.to_owned()
    } else if let Some(rest) = rest.strip_prefix("mid.attn_1.") {
        let new =
            ATTENTION.iter().find_map(|(old, new)| Some(format!("{new}{}", rest.strip_prefix(old)?)))?;
        format!("mid_block.attentions.0.{new}")
    } else if let Some(rest) = rest.strip_prefix("mid.block_") {
        let (block, rest) = numbered(rest)?;
        format!("mid_block.resnets.{}.{}", block.checked_sub(1)?, resnet(rest))
    } else if let Some(rest) = rest.strip_prefix("down.") {
        let (stage, rest) = numbered(rest)?;
        format!("down_blocks.{stage}.{}", in_stage(rest, "downsample.", "downsamplers.0.")?)
    } else {
        let (stage, rest) = numbered(rest.strip_prefix("up.")?)?;
        // Latent diffusion counts the stages of the decoder from the picture, diffusers from the latents.
        let stage = stages.checked_sub(1)?.checked_sub(stage)?;
        format!("up_blocks.{stage}.{}", in_stage(rest, "upsample.", "upsamplers.0.")?)
    };
    Some(format!("{side}.{new}"))
}

fn in_stage(rest: &str, resampler: &str, new: &str) -> Option<String> {
    if let Some(rest) = rest.strip_prefix(resampler) {
        return Some(format!("{new}{rest}"));
    }
    let (block, rest) = numbered(rest.strip_prefix("block.")?)?;
    Some(format!("resnets.{block}.{}", resnet(rest)))
}

fn resnet(rest: &str) -> String {
    match rest.strip_prefix("nin_shortcut.") {
        Some(rest) => format!("conv_shortcut.{rest}"),
        None => rest.to_owned(),
    }
}
