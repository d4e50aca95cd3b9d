//! Transformer blocks of a UNet's stages, as its config counts them.

use serde::Deserialize;

use super::OneOrMany;
use super::check::{Check, MAX_LAYERS};
use crate::error::Result;

/// Transformer blocks after a resnet: the same everywhere, or by stage, and within a stage the same or by resnet.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum TransformerLayers {
    /// The same everywhere.
    One(usize),
    /// By stage.
    Many(Vec<OneOrMany<usize>>),
}

impl TransformerLayers {
    /// Blocks after resnet `resnet` of stage `stage`; 0 past the end of a list (validation rules that out).
    #[must_use]
    pub fn at(&self, stage: usize, resnet: usize) -> usize {
        match self {
            Self::One(layers) => *layers,
            Self::Many(stages) => stages.get(stage).map_or(0, |layers| layers.at(resnet)),
        }
    }

    /// Resnets of a stage whose number is known.
    pub(super) fn known(&self, stage: usize) -> usize {
        match self {
            Self::One(_) => usize::MAX,
            Self::Many(stages) => stages.get(stage).map_or(0, |layers| layers.stages().unwrap_or(usize::MAX)),
        }
    }

    /// Whether a stage has a list of its own.
    pub(super) fn differ_within_stages(&self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Many(stages) => stages.iter().any(|layers| layers.stages().is_some()),
        }
    }

    /// An entry for each stage, every number inside the bounds. A transformer without blocks is one still: it has its
    /// projections.
    pub(super) fn validate(&self, check: &Check, field: &str, stages: usize) -> Result<()> {
        match self {
            Self::One(layers) => check.between(field, *layers, 0, MAX_LAYERS),
            Self::Many(many) => {
                check.list(field, many.len(), stages)?;
                let mut values = many.iter().flat_map(OneOrMany::values);
                values.try_for_each(|&layers| check.between(field, layers, 0, MAX_LAYERS))
            }
        }
    }
}
