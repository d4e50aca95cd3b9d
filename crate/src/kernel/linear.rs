//! Matrix product with a fused epilogue.

use burn::backend::{Dispatch, TensorMetadata as _};
use burn::tensor::{Shape, Tensor};
use burn_flex::{Flex, FlexTensor};
use burn_wgpu::{CubeBackend, CubeTensor};

use super::shader::{Shader, Variant, launch, shader};
use super::strategy::{Operation, Product, Strategy, WORKGROUP};
use super::weight::{Weight, WeightPrimitive, maybe};
use super::{Activation, Kernels, flex as cpu, tune};

static REGISTER: Shader = shader!("linear_register");

/// `activation(x · weight + bias) + residual`: x `[b, rows, k]`, weight `[k, n]`, bias `[n]` padded to a multiple of
/// four, residual and result `[b, rows, n]`.
#[must_use]
pub fn linear(
    x: Tensor<3>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    residual: Option<Tensor<3>>,
    activation: Activation,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Kernels>::linear(
        x.into_dispatch(),
        weight.primitive(),
        weight.n(),
        maybe(bias.cloned()),
        maybe(residual),
        activation,
    ))
}

fn variant(strategy: Strategy, bias: bool, residual: bool, activation: Activation) -> Variant {
    let Strategy::Register { rows, columns } = strategy;
    Variant::new(
        &REGISTER,
        &[
            ("WG_X", WORKGROUP[0]),
            ("WG_Y", WORKGROUP[1]),
            ("ROWS", rows),
            ("COLUMNS", columns),
            ("BIAS", bias.into()),
            ("RESIDUAL", residual.into()),
            ("ACTIVATION", activation.define()),
        ],
    )
}

pub(super) fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for strategy in Strategy::ALL {
        for (bias, residual, activation) in [
            (false, false, Activation::None),
            (true, false, Activation::None),
            (true, true, Activation::None),
            (true, false, Activation::Silu),
            (true, false, Activation::Gelu),
            (true, false, Activation::QuickGelu),
        ] {
            all.push(variant(strategy, bias, residual, activation));
        }
    }
    all
}

pub(super) fn cube(
    x: CubeTensor,
    weight: WeightPrimitive<CubeBackend>,
    n: usize,
    bias: Option<CubeTensor>,
    residual: Option<CubeTensor>,
    activation: Activation,
) -> CubeTensor {
    let [b, rows, k] = x.shape().dims();
    let WeightPrimitive::F32(weight) = weight else { unimplemented!("packed weights") };
    let n4 = n.div_ceil(4);
    let product = Product { operation: Operation::Linear, quant: None, rows: b * rows, k, n };
    let strategy = tune::strategy(&product);
    let variant = variant(strategy, bias.is_some(), residual.is_some(), activation);
    let inputs = [Some(x), Some(weight), bias, residual].into_iter().flatten().collect();
    let info = [b * rows, k, n, n4].map(|value| value as u32);
    launch(variant, inputs, Shape::new([b, rows, n]), strategy.groups(&product), &info)
}

pub(super) fn flex(
    x: FlexTensor,
    weight: WeightPrimitive<Flex>,
    n: usize,
    bias: Option<FlexTensor>,
    residual: Option<FlexTensor>,
    activation: Activation,
) -> FlexTensor {
    let [b, rows, _] = x.shape().dims();
    let WeightPrimitive::F32(weight) = weight else { unimplemented!("packed weights") };
    let product = cpu::matmul(cpu::values(x), b * rows, weight);
    let y = epilogue(&product, n, bias.map(cpu::values), residual.map(cpu::values), activation);
    cpu::tensor(y, [b, rows, n])
}

/// Drops the padding of `product` `[rows, n rounded up to 4]` and applies bias, activation and residual.
pub(super) fn epilogue(
    product: &[f32],
    n: usize,
    bias: Option<Vec<f32>>,
    residual: Option<Vec<f32>>,
    activation: Activation,
) -> Vec<f32> {
    let n4 = n.next_multiple_of(4);
    let bias = bias.unwrap_or_else(|| vec![0.0; n4]);
    let mut y = Vec::with_capacity(product.len() / n4 * n);
    for row in product.chunks_exact(n4) {
        y.extend(row[..n].iter().zip(&bias).map(|(value, bias)| activation.apply(value + bias)));
    }
    if let Some(residual) = residual {
        y.iter_mut().zip(residual).for_each(|(y, residual)| *y += residual);
    }
    y
}
