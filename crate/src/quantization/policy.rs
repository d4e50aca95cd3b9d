//! Which weights of a model are packed, and how finely.

use std::str::FromStr;

use super::Quant;
use crate::error::{Error, Result};

/// Which weights of a model are packed. Vectors never are: they are small, and each of their numbers counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// All matrices and convolutions in one format.
    Uniform(Quant),
    /// Q4 with the sensitive layers finer, by the rules of `docs/quantization.md`.
    Mixed,
    /// One tensor and nothing else: what a layer costs in quality.
    Only {
        /// Folder of its part.
        part: String,
        /// Its name.
        tensor: String,
        /// Its format.
        quant: Quant,
    },
}

/// Where in a model, piece of a tensor's name, format. The first that fits counts.
///
/// Made from `easel quality --sensitivity` on the bundled model: of the damage that Q4 does to a picture, these layers
/// do 86 %, and have 12 % of the weights of Stable Diffusion 1.5. `docs/quantization.md` has the table. Names are those of
/// diffusers, so that the rules fit other models.
const MIXED: [(&str, &str, Quant); 13] = [
    // 27 % of the damage: what they write is the UNet's or the decoder's result, and nothing averages it.
    ("", "conv_out.", Quant::Q8),
    // 31 %: they read the skip concatenation and write the residual stream past every norm.
    ("", "conv_shortcut.", Quant::Q8),
    // 12 %: what the text encoder moves between tokens.
    ("text_encoder", "self_attn.v_proj.", Quant::Q8),
    ("text_encoder", "self_attn.out_proj.", Quant::Q8),
    // 12 %, but many bytes.
    ("text_encoder", "token_embedding.", Quant::Q6),
    // Every block hears of the time, and in SDXL of the picture's size, through these, and they are small.
    ("unet", "time_embedding.", Quant::Q8),
    ("unet", "add_embedding.", Quant::Q8),
    // AutoencoderTiny has no norms to even out errors, and hardly any weights.
    ("vae", "layers.", Quant::Q8),
    // Into and out of the transformers, and what the prompt adds there.
    ("unet", ".proj_in.", Quant::Q6),
    ("unet", ".proj_out.", Quant::Q6),
    ("unet", ".attn2.to_v.", Quant::Q6),
    ("vae", "", Quant::Q6),
    ("", "", Quant::Q4),
];

impl Policy {
    /// Format of a matrix or convolution `tensor` of the part `part`; `None` leaves it as it is.
    #[must_use]
    pub fn quant(&self, part: &str, tensor: &str) -> Option<Quant> {
        match self {
            Self::Uniform(quant) => Some(*quant),
            Self::Mixed => {
                let fits = |rule: &&(&str, &str, Quant)| part.starts_with(rule.0) && tensor.contains(rule.1);
                MIXED.iter().find(fits).map(|rule| rule.2)
            }
            Self::Only { part: only, tensor: one, quant } => {
                (part == only && tensor == one).then_some(*quant)
            }
        }
    }

    /// As options spell it; a single tensor's format for [`Self::Only`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Uniform(quant) | Self::Only { quant, .. } => quant.name(),
            Self::Mixed => "mixed",
        }
    }
}

impl FromStr for Policy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if name == Self::Mixed.name() {
            return Ok(Self::Mixed);
        }
        name.parse().map(Self::Uniform).map_err(|_| Error::Parameter {
            name: "quant".into(),
            reason: format!("must be q8, q6, q4 or mixed, not {name:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_goes_by_the_first_rule_that_fits() {
        let cases = [
            ("unet", "conv_out.weight", Quant::Q8),
            ("unet", "up_blocks.1.resnets.0.conv_shortcut.weight", Quant::Q8),
            ("unet", "up_blocks.1.resnets.0.conv1.weight", Quant::Q4),
            ("unet", "time_embedding.linear_2.weight", Quant::Q8),
            ("unet", "add_embedding.linear_1.weight", Quant::Q8),
            ("unet", "up_blocks.1.resnets.0.time_emb_proj.weight", Quant::Q4),
            ("unet", "mid_block.attentions.0.proj_out.weight", Quant::Q6),
            ("unet", "mid_block.attentions.0.transformer_blocks.0.attn2.to_v.weight", Quant::Q6),
            ("unet", "mid_block.attentions.0.transformer_blocks.0.attn1.to_v.weight", Quant::Q4),
            ("unet", "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight", Quant::Q4),
            ("text_encoder", "text_model.encoder.layers.3.self_attn.out_proj.weight", Quant::Q8),
            ("text_encoder", "text_model.encoder.layers.3.mlp.fc1.weight", Quant::Q4),
            ("text_encoder", "text_model.embeddings.token_embedding.weight", Quant::Q6),
            ("vae", "decoder.layers.3.conv.2.weight", Quant::Q8),
            ("vae", "decoder.conv_out.weight", Quant::Q8),
            ("vae", "decoder.mid_block.resnets.0.conv1.weight", Quant::Q6),
        ];
        for (part, tensor, quant) in cases {
            assert_eq!(Policy::Mixed.quant(part, tensor), Some(quant), "{part}/{tensor}");
        }
    }

    #[test]
    fn one_tensor_and_no_other() {
        let only = Policy::Only { part: "unet".into(), tensor: "a.weight".into(), quant: Quant::Q4 };
        assert_eq!(only.quant("unet", "a.weight"), Some(Quant::Q4));
        assert_eq!((only.quant("vae", "a.weight"), only.quant("unet", "b.weight")), (None, None));
    }

    #[test]
    fn names() {
        for name in ["q8", "q6", "q4", "mixed"] {
            assert_eq!(name.parse::<Policy>().map(|policy| policy.name()), Ok(name));
        }
        for name in ["", "Q8", "q5", "mixed4"] {
            let error = name.parse::<Policy>().unwrap_err();
            assert_eq!(error.code(), "bad_parameter", "{name}");
        }
    }
}
