//! Names that the layers of a UNet have in checkpoints in one file, for LoRA files that were made with them.

use std::collections::{BTreeMap, BTreeSet};

use super::unet::{OUTSIDE, RESNET};

/// Resnets of each stage of one side, and which stages have transformers.
#[derive(Default)]
struct Stages {
    resnets: Vec<usize>,
    attends: BTreeSet<usize>,
}

/// For the layers of a UNet in diffusers' names, those of latent diffusion (`input_blocks.4.1.proj_in`) by them; for
/// layers that it has no name for there is none.
#[must_use]
pub fn original_names<'a>(layers: impl Iterator<Item = &'a str> + Clone) -> BTreeMap<String, &'a str> {
    let (mut down, mut up) = (Stages::default(), Stages::default());
    for layer in layers.clone() {
        if let Some((stage, kind, number, _)) = inside(layer, "down_blocks.") {
            down.note(stage, kind, number);
        } else if let Some((stage, kind, number, _)) = inside(layer, "up_blocks.") {
            up.note(stage, kind, number);
        }
    }
    layers.filter_map(|layer| Some((original(layer, &down, &up)?, layer))).collect()
}

impl Stages {
    fn note(&mut self, stage: usize, kind: &str, number: usize) {
        if self.resnets.len() <= stage {
            self.resnets.resize(stage + 1, 0);
        }
        match (kind, self.resnets.get_mut(stage)) {
            ("resnets", Some(resnets)) => *resnets = (*resnets).max(number + 1),
            ("attentions", _) => _ = self.attends.insert(stage),
            _ => {}
        }
    }

    /// Resnets of the stages before.
    fn before(&self, stage: usize) -> usize {
        self.resnets.iter().take(stage).sum()
    }

    fn of(&self, stage: usize) -> usize {
        self.resnets.get(stage).copied().unwrap_or_default()
    }
}

/// Stage, kind of the layer in it, number of that kind, and the rest of a name that begins with `side`.
fn inside<'a>(layer: &'a str, side: &str) -> Option<(usize, &'a str, usize, &'a str)> {
    let mut pieces = layer.strip_prefix(side)?.splitn(4, '.');
    let (stage, kind, number) = (pieces.next()?, pieces.next()?, pieces.next()?);
    Some((stage.parse().ok()?, kind, number.parse().ok()?, pieces.next()?))
}

fn original(layer: &str, down: &Stages, up: &Stages) -> Option<String> {
    if let Some((stage, kind, number, rest)) = inside(layer, "down_blocks.") {
        // Block 0 is the first convolution, and every stage but the last ends with a block of its own.
        let first = 1 + down.before(stage) + stage;
        return Some(match kind {
            "resnets" => format!("input_blocks.{}.0.{}", first + number, of_resnet(rest)?),
            "attentions" => format!("input_blocks.{}.1.{rest}", first + number),
            "downsamplers" => format!("input_blocks.{}.0.op", first + down.of(stage)),
            _ => return None,
        });
    }
    if let Some((stage, kind, number, rest)) = inside(layer, "up_blocks.") {
        let first = up.before(stage);
        return Some(match kind {
            "resnets" => format!("output_blocks.{}.0.{}", first + number, of_resnet(rest)?),
            "attentions" => format!("output_blocks.{}.1.{rest}", first + number),
            "upsamplers" => {
                let member = 1 + usize::from(up.attends.contains(&stage));
                format!("output_blocks.{}.{member}.{rest}", (first + up.of(stage)).checked_sub(1)?)
            }
            _ => return None,
        });
    }
    if let Some(rest) = layer.strip_prefix("mid_block.") {
        let (kind, rest) = rest.split_once('.')?;
        let (number, rest) = rest.split_once('.')?;
        return Some(match (kind, number) {
            ("resnets", "0") => format!("middle_block.0.{}", of_resnet(rest)?),
            ("attentions", "0") => format!("middle_block.1.{rest}"),
            ("resnets", "1") => format!("middle_block.2.{}", of_resnet(rest)?),
            _ => return None,
        });
    }
    renamed(&OUTSIDE, layer)
}

fn of_resnet(layer: &str) -> Option<String> {
    renamed(&RESNET, layer)
}

/// The first name of the pair whose second one is `layer`; both have a point at their end.
fn renamed(pairs: &[(&str, &str)], layer: &str) -> Option<String> {
    let pair = pairs.iter().find(|(_, new)| new.trim_end_matches('.') == layer);
    pair.map(|(old, _)| old.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places of SDXL's layers in its checkpoint, by the shapes of `goldens/single_files/*.json`.
    #[test]
    fn names_of_sdxl() {
        let mut layers =
            vec!["conv_in".to_owned(), "conv_out".to_owned(), "add_embedding.linear_2".to_owned()];
        for stage in 0..3 {
            for (side, count) in [("down_blocks", 2), ("up_blocks", 3)] {
                let attends = if side == "down_blocks" { stage > 0 } else { stage < 2 };
                for number in 0..count {
                    for layer in ["conv1", "conv2", "time_emb_proj"] {
                        layers.push(format!("{side}.{stage}.resnets.{number}.{layer}"));
                    }
                    if attends {
                        let place = format!("{side}.{stage}.attentions.{number}");
                        layers.push(format!("{place}.transformer_blocks.1.attn2.to_out.0"));
                    }
                }
            }
        }
        for layer in [
            "down_blocks.0.downsamplers.0.conv",
            "down_blocks.1.downsamplers.0.conv",
            "up_blocks.0.upsamplers.0.conv",
            "up_blocks.1.upsamplers.0.conv",
            "mid_block.attentions.0.proj_in",
            "mid_block.resnets.1.conv2",
        ] {
            layers.push(layer.to_owned());
        }
        let names = original_names(layers.iter().map(String::as_str));
        assert_eq!(names.len(), layers.len());
        for (original, layer) in [
            ("input_blocks.0.0", "conv_in"),
            ("out.2", "conv_out"),
            ("label_emb.0.2", "add_embedding.linear_2"),
            ("input_blocks.1.0.in_layers.2", "down_blocks.0.resnets.0.conv1"),
            ("input_blocks.3.0.op", "down_blocks.0.downsamplers.0.conv"),
            ("input_blocks.6.0.op", "down_blocks.1.downsamplers.0.conv"),
            ("input_blocks.8.0.out_layers.3", "down_blocks.2.resnets.1.conv2"),
            (
                "input_blocks.4.1.transformer_blocks.1.attn2.to_out.0",
                "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_out.0",
            ),
            ("middle_block.1.proj_in", "mid_block.attentions.0.proj_in"),
            ("middle_block.2.out_layers.3", "mid_block.resnets.1.conv2"),
            (
                "output_blocks.5.1.transformer_blocks.1.attn2.to_out.0",
                "up_blocks.1.attentions.2.transformer_blocks.1.attn2.to_out.0",
            ),
            ("output_blocks.2.2.conv", "up_blocks.0.upsamplers.0.conv"),
            ("output_blocks.5.2.conv", "up_blocks.1.upsamplers.0.conv"),
            ("output_blocks.8.0.emb_layers.1", "up_blocks.2.resnets.2.time_emb_proj"),
        ] {
            assert_eq!(names.get(original), Some(&layer), "{original}");
        }
    }
}
