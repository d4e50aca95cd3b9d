//! Gated GELU, the activation of the transformer blocks' feed-forward.

use burn::backend::{Dispatch, TensorMetadata as _};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;
use burn_wgpu::CubeTensor;

use super::cpu_math::gelu;
use super::shader::{Shader, Variant, fold, launch, shader};
use super::storage::Storage;
use super::{Kernels, flex as cpu};

static GEGLU: Shader = shader!("geglu");

/// `x[.., ..width] * gelu(x[.., width..])` (arXiv:2002.05202): x `[b, rows, 2*width]`, result `[b, rows, width]`.
#[must_use]
pub fn geglu(x: Tensor<3>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Kernels>::geglu(x.into_dispatch()))
}

const WORKGROUP: u32 = 64;

fn variant(storage: Storage) -> Variant {
    Variant::new(&GEGLU, &[("WG_X", WORKGROUP), ("ACTIVATION", 0), storage.define()])
}

pub(super) fn variants(storage: Storage) -> Vec<Variant> {
    vec![variant(storage)]
}

pub(super) fn cube(x: CubeTensor) -> CubeTensor {
    let [b, rows, double] = x.shape().dims();
    let width = double / 2;
    let elements = b * rows * width;
    let (groups, row) = fold(elements.div_ceil(4), WORKGROUP);
    let (shape, info) = (Shape::new([b, rows, width]), [width as u32, elements as u32, row]);
    launch(variant(Storage::of(&x)), vec![x], shape, groups, &info)
}

pub(super) fn flex(x: FlexTensor) -> FlexTensor {
    let [b, rows, double] = x.shape().dims();
    let x = cpu::contiguous(x);
    cpu::tensor(gated(cpu::slice(&x), double), [b, rows, double / 2])
}

/// [`geglu`] of rows of `double` values.
pub(super) fn gated(values: &[f32], double: usize) -> Vec<f32> {
    let width = double / 2;
    let mut y = Vec::with_capacity(values.len() / 2);
    for row in values.chunks_exact(double) {
        let (value, gate) = row.split_at(width);
        y.extend(value.iter().zip(gate).map(|(value, gate)| value * gelu(*gate)));
    }
    y
}
