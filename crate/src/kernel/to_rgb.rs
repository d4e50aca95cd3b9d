//! From latents or a decoder's output to a picture.

use burn::backend::{Dispatch, TensorMetadata as _};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;
use burn_wgpu::CubeTensor;

use super::shader::{Shader, Variant, fold, launch, shader};
use super::{Kernels, flex as cpu};

static TO_RGB: Shader = shader!("to_rgb");

/// `clamp(x · map, 0, 1)`: x `[1, pixels, channels]`, map `[channels + 1, 3]` whose last row is an offset, result
/// `[1, pixels, 3]`.
#[must_use]
pub fn to_rgb(x: Tensor<3>, map: &Tensor<2>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Kernels>::to_rgb(x.into_dispatch(), map.clone().into_dispatch()))
}

const WORKGROUP: u32 = 64;

fn variant() -> Variant {
    Variant::new(&TO_RGB, &[("WG_X", WORKGROUP)])
}

pub(super) fn variants() -> Vec<Variant> {
    vec![variant()]
}

pub(super) fn cube(x: CubeTensor, map: CubeTensor) -> CubeTensor {
    let [_, pixels, channels] = x.shape().dims();
    let (groups, row) = fold(pixels, WORKGROUP);
    launch(
        variant(),
        vec![x, map],
        Shape::new([1, pixels, 3]),
        groups,
        &[pixels as u32, channels as u32, row],
    )
}

pub(super) fn flex(x: FlexTensor, map: FlexTensor) -> FlexTensor {
    let [_, pixels, channels] = x.shape().dims();
    let (x, map) = (cpu::values(x), cpu::values(map));
    let mut rgb = Vec::with_capacity(pixels * 3);
    for pixel in x.chunks_exact(channels) {
        for o in 0..3 {
            let sum = pixel.iter().enumerate().map(|(c, value)| map[c * 3 + o] * value).sum::<f32>();
            rgb.push((sum + map[channels * 3 + o]).clamp(0.0, 1.0));
        }
    }
    cpu::tensor(rgb, [1, pixels, 3])
}
