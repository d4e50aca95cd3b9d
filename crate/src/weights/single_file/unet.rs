//! The UNet of a checkpoint: `input_blocks`, `middle_block` and `output_blocks` of latent diffusion
//! (`ldm/modules/diffusionmodules/openaimodel.py`) under the names of diffusers
//! (`convert_ldm_unet_checkpoint` in `loaders/single_file_utils.py`).

use std::collections::BTreeMap;

use super::checkpoint::{Checkpoint, numbered};
use super::part::Renamed;
use super::unet_blocks::{Member, Names, Place, Side, Structure, arrange};
use crate::error::Result;
use crate::weights::safetensors::TensorInfo;

pub(super) const PREFIX: &str = "model.diffusion_model.";

/// Modules outside of the blocks.
pub(super) const OUTSIDE: [(&str, &str); 8] = [
    ("time_embed.0.", "time_embedding.linear_1."),
    ("time_embed.2.", "time_embedding.linear_2."),
    ("time_embed.cond_proj.", "time_embedding.cond_proj."),
    ("label_emb.0.0.", "add_embedding.linear_1."),
    ("label_emb.0.2.", "add_embedding.linear_2."),
    ("input_blocks.0.0.", "conv_in."),
    ("out.0.", "conv_norm_out."),
    ("out.2.", "conv_out."),
];

const SIDES: [(&str, Side); 3] =
    [("input_blocks.", Side::Down), ("middle_block.", Side::Mid), ("output_blocks.", Side::Up)];

/// Modules of a resnet.
pub(super) const RESNET: [(&str, &str); 6] = [
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("emb_layers.1.", "time_emb_proj."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("skip_connection.", "conv_shortcut."),
];

/// Modules of a transformer, named as diffusers does.
const TRANSFORMER: [&str; 4] = ["norm.", "proj_in.", "proj_out.", "transformer_blocks."];

/// The convolution that changes the resolution, on the way down and up.
const RESAMPLER: [&str; 2] = ["op.", "conv."];

const OUTPUT_CHANNELS: &str = "out_layers.3.weight";

/// Reads the structure of the UNet, and its tensors under their new names.
///
/// # Errors
/// [`crate::error::Error::UnsupportedClass`] with a tensor that no UNet of the Stable Diffusion family has, or when the blocks do
/// not make one.
pub(super) fn read(checkpoint: &Checkpoint<'_>) -> Result<(Structure, Vec<Renamed>)> {
    let tensors = checkpoint.below(PREFIX);
    let refused = |what: String| {
        checkpoint.unsupported(what, "the UNets of Stable Diffusion 1, 2 and XL, which are made otherwise")
    };
    let unknown = |name: &str| refused(format!("{PREFIX}{name}"));
    let mut members = BTreeMap::new();
    for (&name, info) in tensors.iter().filter(|(name, _)| outside(name).is_none()) {
        let found = place(name).and_then(|(place, rest)| note(&mut members, place, rest, info));
        found.ok_or_else(|| unknown(name))?;
    }
    let (structure, names) = arrange(&members).ok_or_else(|| refused(format!("{PREFIX}*")))?;
    let mut renamed = Vec::with_capacity(tensors.len());
    for (&name, info) in &tensors {
        let new = outside(name).or_else(|| inside(&names, name)).ok_or_else(|| unknown(name))?;
        renamed.push(Renamed::whole(new, info));
    }
    Ok((structure, renamed))
}

/// Width of the text that the UNet attends to, and whether the projections around transformer blocks are linear
/// layers.
///
/// # Errors
/// [`crate::error::Error::UnsupportedClass`] for a UNet that attends to no text.
pub(super) fn attention(checkpoint: &Checkpoint<'_>) -> Result<(usize, bool)> {
    let tensors = checkpoint.below(PREFIX);
    let shape = |end: &str| tensors.iter().find(|(name, _)| name.ends_with(end)).map(|(_, info)| &info.shape);
    let width = shape(".attn2.to_k.weight").and_then(|shape| shape.get(1)).copied();
    let projection = shape(".1.proj_in.weight").map(Vec::len);
    let both = width.zip(projection.map(|dimensions| dimensions == 2));
    both.ok_or_else(|| checkpoint.unsupported("a UNet that attends to no text", "text-to-image models"))
}

fn outside(name: &str) -> Option<String> {
    OUTSIDE.iter().find_map(|(old, new)| Some(format!("{new}{}", name.strip_prefix(old)?)))
}

/// Place of a tensor's member, and its name in the member.
fn place(name: &str) -> Option<(Place, &str)> {
    let (side, rest) = SIDES.iter().find_map(|(start, side)| Some((*side, name.strip_prefix(start)?)))?;
    let (block, rest) = if side == Side::Mid { (0, rest) } else { numbered(rest)? };
    let (member, rest) = numbered(rest)?;
    Some(((side, block, member), rest))
}

/// Enters what a tensor tells of its member; `None` when it belongs to no known kind, or to two.
fn note(members: &mut BTreeMap<Place, Member>, place: Place, rest: &str, info: &TensorInfo) -> Option<()> {
    let starts = |start: &&str| rest.starts_with(start);
    let new = if RESNET.iter().any(|(old, _)| rest.starts_with(old)) {
        Member::Resnet(if rest == OUTPUT_CHANNELS { *info.shape.first()? } else { 0 })
    } else if TRANSFORMER.iter().any(starts) {
        let block = rest.strip_prefix("transformer_blocks.").map(|rest| numbered(rest));
        Member::Transformer(block.map_or(Some(0), |block| block?.0.checked_add(1))?)
    } else if RESAMPLER.iter().any(starts) {
        Member::Resampler
    } else {
        return None;
    };
    let known = members.entry(place).or_insert(new);
    *known = match (*known, new) {
        (Member::Resnet(a), Member::Resnet(b)) => Member::Resnet(a.max(b)),
        (Member::Transformer(a), Member::Transformer(b)) => Member::Transformer(a.max(b)),
        (Member::Resampler, Member::Resampler) => Member::Resampler,
        _ => return None,
    };
    Some(())
}

/// New name of a tensor in a block.
fn inside(names: &Names, name: &str) -> Option<String> {
    let (place, rest) = place(name)?;
    let member = names.get(&place)?;
    let resnet = || RESNET.iter().find_map(|(old, new)| Some(format!("{new}{}", rest.strip_prefix(old)?)));
    let resampler = || RESAMPLER.iter().find_map(|old| Some(format!("conv.{}", rest.strip_prefix(old)?)));
    let new = resnet().or_else(resampler).unwrap_or_else(|| rest.to_owned());
    Some(format!("{member}{new}"))
}
