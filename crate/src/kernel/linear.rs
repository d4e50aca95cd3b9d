//! Matrix product with a fused epilogue.

use burn::backend::Dispatch;
use burn::tensor::{Shape, Tensor};
use burn_flex::{Flex, FlexTensor};
use burn_wgpu::{CubeBackend, CubeTensor};

use super::form::{Form, Residual, Shaders};
use super::geglu::gated;
use super::operand::{Operand, OperandPrimitive};
use super::panels::{self, Left};
use super::shader::{Variant, shader};
use super::storage::Storage;
use super::strategy::{Operation, Product, Strategy};
use super::weight::{Weight, WeightPrimitive, maybe};
use super::{Activation, Kernels, flex as cpu, tune};

static SHADERS: Shaders = Shaders { register: shader!("linear_register"), tiled: shader!("linear_tiled") };

/// `activation(x · weight + bias) + residual`: x `[b, rows, k]`, weight `[k, n]`, bias `[n]` padded to a multiple of
/// four, residual and result `[b, rows, n]`; the result `[b, rows, n/2]` for [`Activation::Geglu`].
#[must_use]
pub fn linear(
    x: impl Into<Operand>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    residual: Option<Tensor<3>>,
    activation: Activation,
) -> Tensor<3> {
    linear_by(None, x, weight, bias, residual, activation)
}

/// [`linear`] by a strategy of the caller's choice, for tests and measurements; the CPU has only one.
#[must_use]
pub fn linear_by(
    strategy: Option<Strategy>,
    x: impl Into<Operand>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    residual: Option<Tensor<3>>,
    activation: Activation,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Kernels>::linear(
        x.into().primitive(),
        weight.primitive(),
        weight.n(),
        maybe(bias.cloned()),
        maybe(residual),
        activation,
        strategy,
    ))
}

pub(super) fn variants(storage: Storage, strategies: &[Strategy]) -> Vec<Variant> {
    let epilogues = [
        (true, false, Residual::Beside, Activation::None),
        (false, false, Residual::None, Activation::None),
        (false, false, Residual::InPlace, Activation::None),
        (true, false, Residual::None, Activation::Geglu),
        (true, false, Residual::None, Activation::Silu),
        (true, false, Residual::None, Activation::Gelu),
        (true, false, Residual::None, Activation::QuickGelu),
        (false, false, Residual::None, Activation::Geglu),
    ];
    let mut forms = Form::examples(storage, &epilogues);
    forms.extend_from_within(..2);
    forms.iter_mut().rev().take(2).for_each(|form| form.tail = true);
    SHADERS.variants(strategies, &forms)
}

pub(super) fn cube(
    x: OperandPrimitive<CubeBackend>,
    weight: &WeightPrimitive<CubeBackend>,
    n: usize,
    bias: Option<CubeTensor>,
    residual: Option<CubeTensor>,
    activation: Activation,
    strategy: Option<Strategy>,
) -> CubeTensor {
    let [b, rows, k] = x.dims();
    let in_x = x.in_x();
    let form = Form::of(&x, weight, [&bias, &None, &residual], activation);
    let Form { quant, storage, .. } = form;
    let product = Product { operation: Operation::Linear, quant, storage, rows: b * rows, k, n };
    let strategy = form.strategy(strategy.unwrap_or_else(|| tune::strategy(&product)));
    let [weight, scales] = weight.buffers();
    let inputs = x.into_parts().chain([weight, scales, bias].into_iter().flatten()).collect();
    let info = [b * rows, k, n, n.div_ceil(4), in_x].map(|value| value as u32);
    let variant = SHADERS.variant(&form, strategy);
    let shape = Shape::new([b, rows, columns(n, activation)]);
    form.launch(variant, inputs, residual, shape, strategy.groups(&product), &info)
}

/// Columns of the result.
fn columns(n: usize, activation: Activation) -> usize {
    if activation == Activation::Geglu { n / 2 } else { n }
}

pub(super) fn flex(
    x: OperandPrimitive<Flex>,
    weight: &WeightPrimitive<Flex>,
    n: usize,
    bias: Option<FlexTensor>,
    residual: Option<FlexTensor>,
    activation: Activation,
    _strategy: Option<Strategy>,
) -> FlexTensor {
    let [b, rows, _] = x.dims();
    let parts: Vec<_> = x.into_parts().map(cpu::contiguous).collect();
    let mut epilogue = Epilogue { n, bias: bias.map(cpu::values), residual, activation };
    let mut y = epilogue.start(b * rows);
    panels::multiply(&mut y, &Left::of(parts.iter().map(cpu::slice), b * rows), weight, n);
    epilogue.finish(&mut y);
    let y = if activation == Activation::Geglu { gated(&y, n) } else { y };
    cpu::tensor(y, [b, rows, columns(n, activation)])
}

/// What is added to a product `[rows, n]` beside its terms.
pub(super) struct Epilogue {
    pub(super) n: usize,
    /// At least `n` values.
    pub(super) bias: Option<Vec<f32>>,
    pub(super) residual: Option<FlexTensor>,
    pub(super) activation: Activation,
}

impl Epilogue {
    /// What the product is to be added to.
    pub(super) fn start(&mut self, rows: usize) -> Vec<f32> {
        let residual = if self.activation == Activation::None { self.residual.take() } else { None };
        residual.map_or_else(|| vec![0.0; rows * self.n], cpu::values)
    }

    /// What comes after the product.
    pub(super) fn finish(self, y: &mut [f32]) {
        for row in y.chunks_exact_mut(self.n) {
            row.iter_mut().zip(self.bias.iter().flatten()).for_each(|(y, bias)| *y += bias);
            self.activation.apply(row);
        }
        if let Some(residual) = self.residual {
            let residual = cpu::contiguous(residual);
            y.iter_mut().zip(cpu::slice(&residual)).for_each(|(y, residual)| *y += residual);
        }
    }
}
