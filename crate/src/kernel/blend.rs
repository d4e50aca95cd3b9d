//! A picture, or latents, over what was there before, by a mask.

use burn::backend::{Dispatch, TensorMetadata as _};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;
use burn_wgpu::CubeTensor;

use super::shader::{Shader, Variant, fold, launch, shader};
use super::{Kernels, flex as cpu};

static BLEND: Shader = shader!("blend");

/// `mask * x + (1 - mask) * kept`: x and kept `[1, pixels, channels]`, mask `[1, pixels, 1]` in 0..1.
#[must_use]
pub fn blend(x: Tensor<3>, kept: Tensor<3>, mask: &Tensor<3>) -> Tensor<3> {
    let mask = mask.clone().into_dispatch();
    Tensor::from_dispatch(<Dispatch as Kernels>::blend(x.into_dispatch(), kept.into_dispatch(), mask))
}

const WORKGROUP: u32 = 64;

fn variant() -> Variant {
    Variant::new(&BLEND, &[("WG_X", WORKGROUP)])
}

pub(super) fn variants() -> Vec<Variant> {
    vec![variant()]
}

pub(super) fn cube(x: CubeTensor, kept: CubeTensor, mask: CubeTensor) -> CubeTensor {
    let [_, pixels, channels] = x.shape().dims();
    let elements = pixels * channels;
    let (groups, row) = fold(elements, WORKGROUP);
    let info = [elements as u32, channels as u32, row];
    launch(variant(), vec![x, kept, mask], Shape::new([1, pixels, channels]), groups, &info)
}

pub(super) fn flex(x: FlexTensor, kept: FlexTensor, mask: FlexTensor) -> FlexTensor {
    let [_, pixels, channels] = x.shape().dims();
    let (mut x, kept, mask) = (cpu::values(x), cpu::values(kept), cpu::values(mask));
    let rows = x.chunks_exact_mut(channels).zip(kept.chunks_exact(channels));
    for ((x, kept), drawn) in rows.zip(mask) {
        x.iter_mut().zip(kept).for_each(|(x, kept)| *x = drawn * *x + (1.0 - drawn) * kept);
    }
    cpu::tensor(x, [1, pixels, channels])
}
