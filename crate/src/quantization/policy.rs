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
/// do 85 % with 7 % of the weights of Stable Diffusion 1.5. `docs/quantization.md` has the table. Names are those of
/// diffusers, so that the rules fit other models.
const MIXED: [(&str, &str, Quant); 12] = [
    // 15 % of the damage: what they write is the UNet's or the decoder's result, and nothing averages it.
    ("", "conv_out.", Quant::Q8),
    // 31 %: they read the skip concatenation and write the residual stream past every norm.
    ("", "conv_shortcut.", Quant::Q8),
    // 12 %: what the text encoder moves between tokens.
    ("text_encoder", "self_attn.v_proj.", Quant::Q8),
    ("text_encoder", "self_attn.out_proj.", Quant::Q8),
    // 12 %, but many bytes.
    ("text_encoder", "token_embedding.", Quant::Q6),
    // Every block hears of the time through these, and they are small.
    ("unet", "time_embedding.", Quant::Q8),
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
