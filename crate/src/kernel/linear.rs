//! Matrix product with a fused epilogue.

use burn::backend::{Dispatch, TensorMetadata as _};
use burn::tensor::{Shape, Tensor};
use burn_flex::{Flex, FlexTensor};
use burn_wgpu::{CubeBackend, CubeTensor};

use super::shader::{Shader, Variant, launch, shader};
use super::weight::{Weight, WeightPrimitive, maybe};
use super::{Activation, Kernels, flex as cpu};

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

/// Rows and groups of four columns that one invocation computes: big tiles reuse what they load, small ones leave
/// more invocations to share a small product.
pub(super) fn tile(rows: usize, n: usize) -> (u32, u32) {
    match rows * n {
        65_536.. if n > 4 => (8, 2),
        8_192.. => (4, 1),
        _ => (1, 1),
    }
}

/// Workgroups for tiles over `rows` and `n`; rows are folded below the 65535 workgroups of a dimension.
pub(super) fn tile_groups(rows: usize, n: usize, tile: (u32, u32)) -> [u32; 3] {
    let x = (n.div_ceil(4) as u32).div_ceil(tile.1 * WORKGROUP[0]);
    let y = (rows as u32).div_ceil(tile.0 * WORKGROUP[1]);
    [x, y.min(MOST_GROUPS), y.div_ceil(MOST_GROUPS)]
}

const MOST_GROUPS: u32 = 32_768;

/// Tiles that [`tile`] can answer.
pub(super) const TILES: [(u32, u32); 3] = [(8, 2), (4, 1), (1, 1)];

/// Workgroup of the register kernels: 64 invocations, more across columns, which share loads of x.
pub(super) const WORKGROUP: [u32; 2] = [8, 8];

fn variant(tile: (u32, u32), bias: bool, residual: bool, activation: Activation) -> Variant {
    Variant::new(
        &REGISTER,
        &[
            ("WG_X", WORKGROUP[0]),
            ("WG_Y", WORKGROUP[1]),
            ("ROWS", tile.0),
            ("COLUMNS", tile.1),
            ("BIAS", bias.into()),
            ("RESIDUAL", residual.into()),
            ("ACTIVATION", activation.define()),
        ],
    )
}

pub(super) fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for tile in TILES {
        for (bias, residual, activation) in [
            (false, false, Activation::None),
            (true, false, Activation::None),
            (true, true, Activation::None),
            (true, false, Activation::Silu),
            (true, false, Activation::Gelu),
            (true, false, Activation::QuickGelu),
        ] {
            all.push(variant(tile, bias, residual, activation));
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
    let WeightPrimitive::F32(weight) = weight;
    let n4 = n.div_ceil(4);
    let tile = tile(b * rows, n);
    let variant = variant(tile, bias.is_some(), residual.is_some(), activation);
    let inputs = [Some(x), Some(weight), bias, residual].into_iter().flatten().collect();
    let groups =
        [(n4 as u32).div_ceil(tile.1 * WORKGROUP[0]), ((b * rows) as u32).div_ceil(tile.0 * WORKGROUP[1]), 1];
    let info = [b * rows, k, n, n4].map(|value| value as u32);
    launch(variant, inputs, Shape::new([b, rows, n]), groups, &info)
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
    let WeightPrimitive::F32(weight) = weight;
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
