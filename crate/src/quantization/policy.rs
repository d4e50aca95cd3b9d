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

/// Part, piece of a tensor's name, format. The first that fits counts.
const MIXED: [(&str, &str, Quant); 1] = [("", "", Quant::Q4)];

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
