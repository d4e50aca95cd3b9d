//! Layer normalisation.

use burn::backend::{Dispatch, TensorMetadata as _};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use burn_wgpu::CubeTensor;

use super::cpu_math::sum;
use super::shader::{Shader, Variant, fold, launch, shader};
use super::storage::Storage;
use super::strategy::Adapter;
use super::{Kernels, flex as cpu};

static LAYER_NORM: Shader = shader!("layer_norm");

/// Normalises every row (arXiv:1607.06450), then scales and shifts each channel: x and result `[b, rows, channels]`,
/// weight and bias `[channels]`.
#[must_use]
pub fn layer_norm(x: Tensor<3>, weight: &Tensor<1>, bias: &Tensor<1>, eps: f32) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Kernels>::layer_norm(
        x.into_dispatch(),
        weight.clone().into_dispatch(),
        bias.clone().into_dispatch(),
        eps,
    ))
}

/// Invocations that normalise a row.
const WORKGROUP: u32 = 64;

fn variant(adapter: Adapter, storage: Storage) -> Variant {
    Variant::new(&LAYER_NORM, &[("WG_X", adapter.workgroup(WORKGROUP)), storage.define()])
}

pub(super) fn variants(storage: Storage) -> Vec<Variant> {
    Adapter::KINDS.map(|adapter| variant(adapter, storage)).into()
}

pub(super) fn cube(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, eps: f32) -> CubeTensor {
    let [b, rows, channels] = x.shape().dims();
    let (groups, row) = fold(b * rows, 1);
    let shape = x.shape();
    let info = [(b * rows) as u32, channels as u32, eps.to_bits(), row];
    launch(variant(Adapter::current(), Storage::of(&x)), vec![x, weight, bias], shape, groups, &info)
}

pub(super) fn flex(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, eps: f32) -> FlexTensor {
    let [b, rows, channels] = x.shape().dims();
    let (mut values, weight, bias) = (cpu::values(x), cpu::values(weight), cpu::values(bias));
    for row in values.chunks_exact_mut(channels) {
        let mean = sum(row, |value| value) / channels as f32;
        let variance = sum(row, |value| (value - mean) * (value - mean)) / channels as f32;
        let scale = (variance + eps).sqrt().recip();
        for (value, (weight, bias)) in row.iter_mut().zip(weight.iter().zip(&bias)) {
            *value = (*value - mean) * scale * weight + bias;
        }
    }
    cpu::tensor(values, [b, rows, channels])
}
