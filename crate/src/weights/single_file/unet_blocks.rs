//! The blocks of a checkpoint's UNet: which stage and layer each belongs to.
//!
//! Latent diffusion counts blocks through (`input_blocks.0` to `.11`); diffusers counts by stage. A stage ends where
//! the resolution changes.

use std::collections::BTreeMap;

use super::checkpoint::count;

/// One resnet of a stage, and the transformer after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) channels: usize,
    /// Blocks of the transformer, where there is one.
    pub(super) transformer: Option<usize>,
}

/// What a UNet is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Structure {
    /// Layers by stage, from the input to the middle.
    pub(super) down: Vec<Vec<Layer>>,
    pub(super) mid: Mid,
    /// Layers by stage, from the middle to the output.
    pub(super) up: Vec<Vec<Layer>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mid {
    Absent,
    Resnet,
    /// With the number of transformer blocks.
    Attention(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Down,
    Mid,
    Up,
}

/// What one member of a block is: `input_blocks.4.1` is member 1 of block 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    /// With its output channels, 0 until they are known.
    Resnet(usize),
    /// With its number of blocks.
    Transformer(usize),
    /// A convolution that changes the resolution.
    Resampler,
}

/// Place of a member: side, block (0 in the middle) and member.
pub(super) type Place = (Side, usize, usize);

/// New name of each member, with a point at its end.
pub(super) type Names = BTreeMap<Place, String>;

/// A block as its members show it.
struct Block {
    layer: Option<Layer>,
    resampler: bool,
}

/// Finds the stages. `None` when the members make no UNet that diffusers has names for.
pub(super) fn arrange(members: &BTreeMap<Place, Member>) -> Option<(Structure, Names)> {
    let mut names = Names::new();
    let down = down(&blocks(members, Side::Down, 1)?, &mut names)?;
    let up = up(&blocks(members, Side::Up, 0)?, &mut names)?;
    let mid = mid(members, &mut names)?;
    let layers = |stages: &[Vec<Layer>]| stages.iter().map(Vec::len).collect::<Vec<_>>();
    let expected: Vec<usize> = layers(&down).into_iter().rev().map(|layers| layers + 1).collect();
    let known: usize = names.len();
    (layers(&up) == expected && known == members.len()).then_some((Structure { down, mid, up }, names))
}

/// The blocks of a side in order; block 0 of the input, a convolution, is not among `members`.
fn blocks(members: &BTreeMap<Place, Member>, side: Side, first: usize) -> Option<Vec<Block>> {
    let mut blocks: BTreeMap<usize, Vec<Member>> = BTreeMap::new();
    for (&(_, block, member), kind) in members.range((side, 0, 0)..=(side, usize::MAX, usize::MAX)) {
        let block = blocks.entry(block.checked_sub(first)?).or_default();
        (block.len() == member).then(|| block.push(*kind))?;
    }
    count(&blocks)?;
    blocks.into_values().map(|members| Block::read(&members)).collect()
}

impl Block {
    fn read(members: &[Member]) -> Option<Self> {
        let (layer, rest) = match members {
            [Member::Resnet(channels), Member::Transformer(blocks), rest @ ..] => {
                (Some(Layer { channels: *channels, transformer: Some(*blocks) }), rest)
            }
            [Member::Resnet(channels), rest @ ..] => {
                (Some(Layer { channels: *channels, transformer: None }), rest)
            }
            rest => (None, rest),
        };
        match rest {
            [] => Some(Self { layer, resampler: false }),
            [Member::Resampler] => Some(Self { layer, resampler: true }),
            _ => None,
        }
    }
}

/// Names a block's layer, and gives the number of its members.
fn name_layer(names: &mut Names, place: (Side, usize), stage: &str, number: usize, layer: Layer) -> usize {
    let (side, block) = place;
    names.insert((side, block, 0), format!("{stage}.resnets.{number}."));
    if layer.transformer.is_none() {
        return 1;
    }
    names.insert((side, block, 1), format!("{stage}.attentions.{number}."));
    2
}

/// A block of its own changes the resolution.
fn down(blocks: &[Block], names: &mut Names) -> Option<Vec<Vec<Layer>>> {
    let mut stages = vec![Vec::new()];
    for (index, block) in blocks.iter().enumerate() {
        let stage = format!("down_blocks.{}", stages.len() - 1);
        match (block.layer, block.resampler) {
            (Some(layer), false) => {
                let layers = stages.last_mut()?;
                name_layer(names, (Side::Down, index + 1), &stage, layers.len(), layer);
                layers.push(layer);
            }
            (None, true) => {
                names.insert((Side::Down, index + 1, 0), format!("{stage}.downsamplers.0."));
                stages.push(Vec::new());
            }
            _ => return None,
        }
    }
    Some(stages)
}

/// The last member of a stage's last block changes the resolution.
fn up(blocks: &[Block], names: &mut Names) -> Option<Vec<Vec<Layer>>> {
    let mut stages = vec![Vec::new()];
    for (index, block) in blocks.iter().enumerate() {
        let stage = format!("up_blocks.{}", stages.len() - 1);
        let layers = stages.last_mut()?;
        let members = name_layer(names, (Side::Up, index), &stage, layers.len(), block.layer?);
        layers.push(block.layer?);
        if block.resampler {
            names.insert((Side::Up, index, members), format!("{stage}.upsamplers.0."));
            stages.push(Vec::new());
        }
    }
    Some(stages)
}

fn mid(members: &BTreeMap<Place, Member>, names: &mut Names) -> Option<Mid> {
    let found: Vec<Member> =
        members.range((Side::Mid, 0, 0)..=(Side::Mid, 0, 2)).map(|(_, member)| *member).collect();
    let (mid, new): (_, &[&str]) = match *found {
        [] => (Mid::Absent, &[]),
        [Member::Resnet(_)] => (Mid::Resnet, &["resnets.0"]),
        [Member::Resnet(_), Member::Transformer(blocks), Member::Resnet(_)] => {
            (Mid::Attention(blocks), &["resnets.0", "attentions.0", "resnets.1"])
        }
        _ => return None,
    };
    for (member, name) in new.iter().enumerate() {
        names.insert((Side::Mid, 0, member), format!("mid_block.{name}."));
    }
    Some(mid)
}
