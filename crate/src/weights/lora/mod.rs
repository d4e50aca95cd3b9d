//! LoRA files: which layers they are for, and their factors, read layer by layer.

mod alphas;
mod names;

use std::collections::BTreeMap;

use alphas::Alphas;
pub use names::LayerName;
use names::{Parsed, Role, parse};

use crate::error::{Error, Result};
use crate::weights::Weights;
use crate::weights::safetensors::{Header, TensorInfo, read_header};
use crate::weights::source::Source;

/// A part of a model that LoRA files have layers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The text encoder, or the first of two.
    TextEncoder,
    /// The second text encoder of the SDXL family.
    TextEncoder2,
    /// The denoiser.
    Unet,
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// Its name.
    pub tensor: String,
    /// Its shape as the file has it.
    pub shape: Vec<usize>,
}

/// What a file has for one layer: its output for `x` becomes `W x + scale · up (down x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraLayer {
    /// The layer as the file names it.
    pub name: LayerName,
    /// `A`: `[rank, inputs]`, or `[rank, inputs, kernel, kernel]`.
    pub down: Factor,
    /// `B`: `[outputs, rank]`, which may have dimensions of 1 at its end.
    pub up: Factor,
    /// Rank, at least 1.
    pub rank: usize,
    alpha: Option<String>,
    /// Where the numbers begin in the file.
    start: u64,
}

/// Factors of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraNumbers {
    /// In the order of the file.
    pub down: Vec<f32>,
    /// In the order of the file.
    pub up: Vec<f32>,
    /// What their product is multiplied by: alpha over the rank.
    pub scale: f32,
}

/// The layers of a LoRA file; their numbers stay in it.
#[derive(Debug, Clone)]
pub struct LoraFile {
    path: String,
    layers: Vec<LoraLayer>,
    alphas: Alphas,
    others: Vec<String>,
}

#[derive(Default)]
struct Tensors {
    down: Option<(String, TensorInfo)>,
    up: Option<(String, TensorInfo)>,
    alpha: Option<String>,
}

impl LoraFile {
    /// Whether a header's tensors are named as those of LoRA files, or of files of similar methods, are.
    #[must_use]
    pub fn is_lora(header: &Header) -> bool {
        header.tensors.keys().any(|tensor| parse(tensor) != Parsed::Unknown)
    }

    /// Reads the header of `path`.
    ///
    /// # Errors
    /// [`Error::Lora`] for a file that holds no LoRA, another method than LoRA, or half of a layer; those of
    /// [`read_header`].
    pub async fn open(source: &dyn Source, path: &str) -> Result<Self> {
        let header = read_header(source, path).await?;
        let mut tensors: BTreeMap<LayerName, Tensors> = BTreeMap::new();
        let mut others = Vec::new();
        for (tensor, info) in header.tensors {
            match parse(&tensor) {
                Parsed::Of(layer, role) => tensors.entry(layer).or_default().set(role, tensor, info),
                Parsed::Refused(method) => return Err(other_method(path, &tensor, method)),
                Parsed::Unknown => others.push(tensor),
            }
        }
        let layers: Result<Vec<_>> =
            tensors.into_iter().map(|(name, tensors)| tensors.into_layer(path, name)).collect();
        let mut layers = layers?;
        if layers.is_empty() {
            let found = listed(&others);
            return Err(refused(path, format!("holds no LoRA: its tensors are {found}")));
        }
        // In the order of the file, which some sources read in large pieces.
        layers.sort_by_key(|layer| layer.start);
        Ok(Self { path: path.to_owned(), layers, alphas: Alphas::read(path, &header.metadata)?, others })
    }

    /// The file, relative to its source's root.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The layers in the order of the file.
    #[must_use]
    pub fn layers(&self) -> &[LoraLayer] {
        &self.layers
    }

    /// Tensors that belong to no layer.
    #[must_use]
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// Opens the file to read numbers.
    ///
    /// # Errors
    /// Those of [`Weights::open_file`].
    pub async fn weights<'s>(&self, source: &'s dyn Source) -> Result<Weights<'s>> {
        Weights::open_file(source, &self.path).await
    }

    /// Reads the factors of a layer; `module` is the model's name of it.
    ///
    /// # Errors
    /// [`Error::Lora`] for a number that is not finite, and those of [`Weights::read_f32`].
    pub async fn numbers(
        &self,
        weights: &Weights<'_>,
        layer: &LoraLayer,
        module: &str,
    ) -> Result<LoraNumbers> {
        let down = weights.read_f32(&layer.down.tensor, &layer.down.shape).await?;
        let up = weights.read_f32(&layer.up.tensor, &layer.up.shape).await?;
        let scale = match &layer.alpha {
            Some(tensor) => weights.read_scalar(tensor).await? / layer.rank as f32,
            None => self.alphas.scale(layer.name.part, module, layer.rank),
        };
        for (tensor, finite) in [
            (&layer.down.tensor, down.iter().all(|value| value.is_finite())),
            (&layer.up.tensor, up.iter().all(|value| value.is_finite())),
            (layer.alpha.as_ref().unwrap_or(&layer.up.tensor), scale.is_finite()),
        ] {
            if !finite {
                return Err(refused(&self.path, format!("has numbers in `{tensor}` that are not finite")));
            }
        }
        Ok(LoraNumbers { down, up, scale })
    }
}

impl Tensors {
    fn set(&mut self, role: Role, tensor: String, info: TensorInfo) {
        match role {
            Role::Down => self.down = Some((tensor, info)),
            Role::Up => self.up = Some((tensor, info)),
            Role::Alpha => self.alpha = Some(tensor),
        }
    }

    fn into_layer(self, path: &str, name: LayerName) -> Result<LoraLayer> {
        let half = |tensor: &str| refused(path, format!("has `{tensor}`, but not what goes with it"));
        let ((down, up), alpha) = match (self.down, self.up, self.alpha) {
            (Some(down), Some(up), alpha) => ((down, up), alpha),
            (Some((tensor, _)), ..) | (_, Some((tensor, _)), _) | (.., Some(tensor)) => {
                return Err(half(&tensor));
            }
            (None, None, None) => return Err(half(&name.name)),
        };
        let rank = down.1.shape.first().copied().unwrap_or_default();
        if rank == 0 || up.1.shape.get(1) != Some(&rank) {
            let (a, b) = (&down.1.shape, &up.1.shape);
            let reason =
                format!("has factors of shapes {a:?} and {b:?} for `{}`: the rank differs", name.name);
            return Err(refused(path, reason));
        }
        Ok(LoraLayer {
            name,
            start: down.1.range.start,
            down: Factor { tensor: down.0, shape: down.1.shape },
            up: Factor { tensor: up.0, shape: up.1.shape },
            rank,
            alpha,
        })
    }
}

/// The first of `names`, and how many more there are.
#[must_use]
pub fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => format!("{shown} and {} more", count - SHOWN),
        _ => shown,
    }
}

fn other_method(path: &str, tensor: &str, method: &str) -> Error {
    let reason = format!(
        "is {method} (`{tensor}`), which Easel does not apply; it takes LoRA with two factors a layer"
    );
    refused(path, reason)
}

fn refused(path: &str, reason: String) -> Error {
    Error::Lora { file: path.to_owned(), reason }
}

#[cfg(test)]
mod tests;
