//! Low-rank adapters (LoRA, arXiv:2106.09685) beside layers whose weights stay as they are: `W x + B (A x)`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use burn::tensor::{Device, Tensor};

use crate::kernel::{self, Activation, Conv2d, Operand, Weight, columns_of_convolution, columns_of_rows};

/// Size of a layer that an adapter can stand beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerShape {
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Side of the kernel; 1 for linear layers.
    pub kernel: usize,
}

/// Factors of one layer's adapters, one adapter after the other: `A` as columns `[k, rank]` and `B` as columns
/// `[rank, outputs rounded up to 4]`. Ranks are filled up with zeros to a multiple of four, which kernels read fastest.
#[derive(Debug)]
pub(crate) struct Factors {
    down: Tensor<2>,
    up: Tensor<2>,
    shape: LayerShape,
}

impl Factors {
    /// From `down` `[rank, inputs, kernel, kernel]` and `up` `[outputs, rank]`; `scale` is folded into `up`.
    pub(crate) fn new(
        shape: LayerShape,
        rank: usize,
        mut down: Vec<f32>,
        up: &[f32],
        scale: f32,
        device: &Device,
    ) -> Self {
        let LayerShape { inputs, outputs, kernel } = shape;
        let padded = rank.next_multiple_of(4);
        down.resize(padded * inputs * kernel * kernel, 0.0);
        let mut scaled = Vec::with_capacity(outputs * padded);
        for row in up.chunks_exact(rank.max(1)) {
            scaled.extend(row.iter().map(|value| value * scale));
            scaled.resize(scaled.len() + padded - rank, 0.0);
        }
        Self {
            down: match kernel {
                1 => columns_of_rows(&down, padded, inputs, device),
                _ => columns_of_convolution(&down, padded, inputs, kernel, device),
            },
            up: columns_of_rows(&scaled, outputs, padded, device),
            shape,
        }
    }

    /// Both adapters of one layer as one.
    pub(crate) fn beside(self, other: Self) -> Self {
        Self {
            down: Tensor::cat(vec![self.down, other.down], 1),
            up: Tensor::cat(vec![self.up, other.up], 0),
            shape: self.shape,
        }
    }

    fn finish(self) -> LowRank {
        let [_, rank] = self.down.dims();
        LowRank {
            down: Weight::from_columns(self.down, rank),
            up: Weight::from_columns(self.up, self.shape.outputs),
        }
    }
}

/// All adapters of one layer.
#[derive(Debug)]
pub(crate) struct LowRank {
    down: Weight,
    up: Weight,
}

impl LowRank {
    /// What it adds to a linear layer's output for `x`, onto `residual`.
    pub(crate) fn linear(&self, x: Operand, residual: Option<Tensor<3>>) -> Tensor<3> {
        let low = kernel::linear(x, &self.down, None, None, Activation::None);
        kernel::linear(low, &self.up, None, residual, Activation::None)
    }

    /// The same for a convolution of geometry `shape`.
    pub(crate) fn conv2d(&self, x: Tensor<3>, shape: Conv2d, residual: Option<Tensor<3>>) -> Tensor<3> {
        let shape = Conv2d { out_channels: self.down.n(), activation: Activation::None, ..shape };
        let low = kernel::conv2d(x, &self.down, shape, None, None, None);
        kernel::linear(low, &self.up, None, residual, Activation::None)
    }
}

/// The adapters of one part of a model, by the names of its layers.
#[derive(Debug, Default)]
pub(crate) struct Adapters {
    layers: BTreeMap<String, Rc<LowRank>>,
}

impl FromIterator<(String, Factors)> for Adapters {
    fn from_iter<I: IntoIterator<Item = (String, Factors)>>(factors: I) -> Self {
        Self {
            layers: factors.into_iter().map(|(name, factors)| (name, Rc::new(factors.finish()))).collect(),
        }
    }
}

/// Where a layer looks for its adapters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot(Rc<RefCell<Option<Rc<LowRank>>>>);

impl Slot {
    pub(crate) fn get(&self) -> Option<Rc<LowRank>> {
        self.0.borrow().clone()
    }
}

/// The layers of a part of a model that adapters can stand beside, noted as they are loaded.
#[derive(Debug, Default)]
pub(crate) struct Adaptable {
    layers: BTreeMap<String, (LayerShape, Slot)>,
    /// Beginnings of names of layers whose results a model gives away, and which are therefore not loaded.
    unused: Vec<String>,
    installed: RefCell<Rc<Adapters>>,
}

impl Adaptable {
    /// Notes a layer.
    pub(crate) fn note(&mut self, name: String, shape: LayerShape) -> Slot {
        let slot = Slot::default();
        self.layers.insert(name, (shape, slot.clone()));
        slot
    }

    /// Notes that layers whose names begin with `start` have no effect.
    pub(crate) fn note_unused(&mut self, start: String) {
        self.unused.push(start);
    }

    /// Names and shapes of the layers.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (&str, LayerShape)> + Clone {
        self.layers.iter().map(|(name, (shape, _))| (name.as_str(), *shape))
    }

    /// Beginnings of names of layers that have no effect.
    pub(crate) fn unused(&self) -> &[String] {
        &self.unused
    }

    /// Puts `adapters` beside the layers, in the place of what was there.
    pub(crate) fn install(&self, adapters: &Rc<Adapters>) {
        if Rc::ptr_eq(&self.installed.borrow(), adapters) {
            return;
        }
        for (name, (_, slot)) in &self.layers {
            slot.0.replace(adapters.layers.get(name).cloned());
        }
        self.installed.replace(Rc::clone(adapters));
    }
}
