//! The layers that every part of a model is built from, and how they are read.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use burn::tensor::activation::{gelu, relu, sigmoid, silu};
use burn::tensor::{Device, Tensor, TensorData};

use super::adapters::{Adaptable, LayerShape, Slot};
use crate::error::Result;
use crate::kernel::{self, Activation, Conv2d, Operand, Weight, WeightSlices, padded};
use crate::weights::Weights;

/// A place in a part's tree of weights: the code that reads a layer spells its name as the file does. Layers are loaded in
/// the order of their names, which is that of the files: whoever gives the bytes can read ahead of them.
pub(crate) struct Loader<'a> {
    weights: &'a Weights<'a>,
    device: &'a Device,
    prefix: String,
    adaptable: Rc<RefCell<Adaptable>>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(weights: &'a Weights<'a>, device: &'a Device) -> Self {
        Self { weights, device, prefix: String::new(), adaptable: Rc::default() }
    }

    /// The layers that were loaded, here and at other places of the same tree.
    pub(crate) fn adaptable(&self) -> Adaptable {
        self.adaptable.take()
    }

    /// Says that this place of the tree is left out because it has no effect on a model's results.
    pub(crate) fn note_unused(&self) {
        self.adaptable.borrow_mut().note_unused(self.prefix.clone());
    }

    fn slot(&self, shape: LayerShape) -> Slot {
        self.adaptable.borrow_mut().note(self.prefix.trim_end_matches('.').to_owned(), shape)
    }

    /// The child `name`, which may hold dots.
    pub(crate) fn at(&self, name: impl std::fmt::Display) -> Self {
        let adaptable = Rc::clone(&self.adaptable);
        Self { prefix: format!("{}{name}.", self.prefix), adaptable, ..*self }
    }

    /// Whether the tensor `name` is here.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.weights.contains(&format!("{}{name}", self.prefix))
    }

    async fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        // Boxed: a model's futures hold one another, and would fill a thread's stack.
        Box::pin(self.weights.read_f32(&format!("{}{name}", self.prefix), shape)).await
    }

    /// The vector `name` of `n` values as it is.
    async fn vector(&self, name: &str, n: usize) -> Result<Tensor<1>> {
        Ok(Tensor::from_data(TensorData::new(self.read(name, &[n]).await?, [n]), self.device))
    }

    /// The matrix `name`, `[rows, columns]`, as a tensor `[1, rows, columns]`.
    pub(crate) async fn table(&self, name: &str, rows: usize, columns: usize) -> Result<Tensor<3>> {
        let values = self.read(name, &[rows, columns]).await?;
        Ok(Tensor::from_data(TensorData::new(values, [1, rows, columns]), self.device))
    }

    async fn bias(&self, n: usize) -> Result<Tensor<1>> {
        Ok(padded(&self.read("bias", &[n]).await?, self.device))
    }

    /// The weight as the file packs it; `None` where it does not.
    async fn packed_weight(&self, shape: &[usize]) -> Result<Option<Weight>> {
        let packed = self.weights.read_packed(&format!("{}weight", self.prefix), shape).await?;
        Ok(packed.map(|(quant, layout, packed)| {
            Weight::from_packed(quant, layout, packed.words, packed.scales, self.device)
        }))
    }

    /// The weight `[outputs, inputs, kernel, kernel]`, or without the last two for a `kernel` of 1.
    async fn weight(&self, shape: &[usize], kernel: usize) -> Result<Weight> {
        if let Some(weight) = self.packed_weight(shape).await? {
            return Ok(weight);
        }
        let [outputs, inputs] = [shape[0], shape[1]];
        let mut slices = WeightSlices::new(outputs, inputs, kernel, self.device);
        let name = format!("{}weight", self.prefix);
        let reading =
            self.weights.read_f32_slices(&name, shape, WeightSlices::STEP, |values| slices.push(values));
        Box::pin(reading).await?;
        Ok(slices.finish())
    }

    /// A linear layer or a 1x1 convolution with bias.
    pub(crate) async fn linear(&self, inputs: usize, outputs: usize) -> Result<Linear> {
        Ok(Linear {
            bias: Some(self.bias(outputs).await?),
            ..self.linear_without_bias(inputs, outputs).await?
        })
    }

    /// A linear layer or a 1x1 convolution without bias.
    pub(crate) async fn linear_without_bias(&self, inputs: usize, outputs: usize) -> Result<Linear> {
        let weight = self.weight(&[outputs, inputs], 1).await?;
        Ok(Linear { weight, bias: None, adapters: self.slot(LayerShape { inputs, outputs, kernel: 1 }) })
    }

    /// A 3x3 convolution; the bias is read where the file has one.
    pub(crate) async fn conv3x3(&self, inputs: usize, outputs: usize) -> Result<Conv3x3> {
        let bias = if self.has("bias") { Some(self.bias(outputs).await?) } else { None };
        let weight = self.weight(&[outputs, inputs, 3, 3], 3).await?;
        Ok(Conv3x3 { weight, bias, adapters: self.slot(LayerShape { inputs, outputs, kernel: 3 }) })
    }

    /// Scale and shift of a normalisation over `channels`.
    pub(crate) async fn norm(&self, channels: usize) -> Result<Norm> {
        Ok(Norm {
            bias: self.vector("bias", channels).await?,
            weight: self.vector("weight", channels).await?,
        })
    }
}

/// A picture of activations: `[b, height*width, channels]` and its size.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) pixels: Tensor<3>,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// `x · weight + bias`, and what adapters add.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Tensor<1>>,
    adapters: Slot,
}

impl Linear {
    pub(crate) fn forward(&self, x: impl Into<Operand>) -> Tensor<3> {
        self.forward_then(x, Activation::None)
    }

    pub(crate) fn forward_then(&self, x: impl Into<Operand>, activation: Activation) -> Tensor<3> {
        let x = x.into();
        match self.adapters.get() {
            None => kernel::linear(x, &self.weight, self.bias.as_ref(), None, activation),
            Some(adapters) => {
                let added = adapters.linear(x.clone(), None);
                // A kernel's own activation comes before what it adds.
                activate(self.product(x, Some(added)), activation)
            }
        }
    }

    /// Adds `residual` to the product.
    pub(crate) fn forward_onto(&self, x: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let residual = match self.adapters.get() {
            None => residual,
            Some(adapters) => adapters.linear(x.clone().into(), Some(residual)),
        };
        self.product(x.into(), Some(residual))
    }

    fn product(&self, x: Operand, residual: Option<Tensor<3>>) -> Tensor<3> {
        kernel::linear(x, &self.weight, self.bias.as_ref(), residual, Activation::None)
    }
}

/// `activation` by itself.
fn activate(x: Tensor<3>, activation: Activation) -> Tensor<3> {
    match activation {
        Activation::None => x,
        Activation::Silu => silu(x),
        Activation::Gelu => gelu(x),
        Activation::QuickGelu => x.clone() * sigmoid(x * 1.702),
        Activation::Relu => relu(x),
        Activation::Geglu => kernel::geglu(x),
    }
}

/// A 3x3 convolution, and what adapters add.
#[derive(Debug)]
pub(crate) struct Conv3x3 {
    weight: Weight,
    bias: Option<Tensor<1>>,
    adapters: Slot,
}

impl Conv3x3 {
    /// Output channels.
    pub(crate) fn outputs(&self) -> usize {
        self.weight.n()
    }

    /// With padding 1, stride 1 and no upsampling; `change` edits that.
    pub(crate) fn forward(&self, x: Image, change: impl FnOnce(Conv2d) -> Conv2d) -> Image {
        self.forward_with(x, change, None, None)
    }

    /// Adds row `shift.1` of the table `shift.0` to every pixel, and `residual`.
    pub(crate) fn forward_with(
        &self,
        x: Image,
        change: impl FnOnce(Conv2d) -> Conv2d,
        shift: Option<(&Tensor<2>, usize)>,
        residual: Option<Tensor<3>>,
    ) -> Image {
        let mut shape = change(Conv2d::same(x.height, x.width, self.outputs()));
        // Only the VAE's convolutions have activations, and adapters stand beside the UNet's.
        let residual = match self.adapters.get() {
            None => residual,
            Some(adapters) => Some(adapters.conv2d(x.pixels.clone(), shape, residual)),
        };
        shape.shift_row = shift.map_or(0, |(_, row)| row);
        let (height, width) = shape.output();
        let table = shift.map(|(table, _)| table);
        let pixels = kernel::conv2d(x.pixels, &self.weight, shape, self.bias.as_ref(), table, residual);
        Image { pixels, height, width }
    }
}

/// Scale and shift of a normalisation.
#[derive(Debug)]
pub(crate) struct Norm {
    weight: Tensor<1>,
    bias: Tensor<1>,
}

impl Norm {
    pub(crate) fn layer(&self, x: Tensor<3>, eps: f32) -> Tensor<3> {
        kernel::layer_norm(x, &self.weight, &self.bias, eps)
    }

    pub(crate) fn group(
        &self,
        x: impl Into<Operand>,
        groups: usize,
        eps: f32,
        activation: Activation,
    ) -> Tensor<3> {
        let options = kernel::GroupNorm { groups, eps, activation };
        kernel::group_norm(x, &self.weight, &self.bias, options)
    }

    /// What [`Self::apply`] needs of a picture in slabs.
    pub(crate) fn statistics(&self, slabs: &VecDeque<Tensor<3>>, groups: usize, eps: f32) -> Tensor<3> {
        kernel::group_statistics(
            slabs,
            &self.weight,
            kernel::GroupNorm { groups, eps, activation: Activation::None },
        )
    }

    /// Pieces of a picture, normalised by its [`Self::statistics`], as one tensor.
    pub(crate) fn apply(
        &self,
        pieces: Vec<Tensor<3>>,
        statistics: &Tensor<3>,
        activation: Activation,
    ) -> Tensor<3> {
        kernel::group_norm_apply(pieces, statistics, &self.bias, activation)
    }
}
