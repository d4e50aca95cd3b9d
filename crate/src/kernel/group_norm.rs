//! Group normalisation with an optional SiLU.

use burn::backend::{Dispatch, TensorMetadata as _};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;
use burn_wgpu::CubeTensor;

use super::shader::{Shader, Variant, fold, launch, shader};
use super::{Activation, Kernels, flex as cpu};

static STATISTICS: Shader = shader!("group_norm_statistics");
static APPLY: Shader = shader!("group_norm_apply");

/// Parameters of [`group_norm`].
#[derive(Debug, Clone, Copy)]
pub struct GroupNorm {
    /// Groups that the channels are divided into, evenly.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Applied to the result.
    pub activation: Activation,
}

/// Normalises every group of channels over all pixels (arXiv:1803.08494), then scales and shifts each channel:
/// x and result `[b, pixels, channels]`, weight and bias `[channels]`.
#[must_use]
pub fn group_norm(x: Tensor<3>, weight: &Tensor<1>, bias: &Tensor<1>, options: GroupNorm) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Kernels>::group_norm(
        x.into_dispatch(),
        weight.clone().into_dispatch(),
        bias.clone().into_dispatch(),
        options,
    ))
}

const WORKGROUP: u32 = 64;

fn statistics_variant() -> Variant {
    Variant::new(&STATISTICS, &[("WG_X", WORKGROUP)])
}

fn apply_variant(activation: Activation) -> Variant {
    Variant::new(&APPLY, &[("WG_X", WORKGROUP), ("ACTIVATION", activation.define())])
}

pub(super) fn variants() -> Vec<Variant> {
    vec![statistics_variant(), apply_variant(Activation::None), apply_variant(Activation::Silu)]
}

pub(super) fn cube(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, options: GroupNorm) -> CubeTensor {
    let [b, pixels, channels] = x.shape().dims();
    let sizes = [pixels as u32, channels as u32, options.groups as u32];
    let statistics = launch(
        statistics_variant(),
        vec![x.clone()],
        Shape::new([b, options.groups, 2]),
        [options.groups as u32, b as u32, 1],
        &[sizes[0], sizes[1], sizes[2], options.eps.to_bits()],
    );
    let elements = b * pixels * channels;
    let (groups, row) = fold(elements.div_ceil(4), WORKGROUP);
    let shape = x.shape();
    launch(
        apply_variant(options.activation),
        vec![x, statistics, weight, bias],
        shape,
        groups,
        &[sizes[0], sizes[1], sizes[2], elements as u32, row],
    )
}

pub(super) fn flex(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, options: GroupNorm) -> FlexTensor {
    let [b, pixels, channels] = x.shape().dims();
    let [x, weight, bias] = [x, weight, bias].map(cpu::contiguous);
    let mut y = Vec::with_capacity(b * pixels * channels);
    for image in cpu::slice(&x).chunks_exact(pixels * channels) {
        let (means, scales) = statistics(image, channels, options);
        let scales: Vec<f32> =
            scales.iter().zip(cpu::slice(&weight)).map(|(scale, weight)| scale * weight).collect();
        for pixel in image.chunks_exact(channels) {
            let channels = pixel.iter().zip(&means).zip(scales.iter().zip(cpu::slice(&bias)));
            y.extend(channels.map(|((x, mean), (scale, bias))| (x - mean) * scale + bias));
            let start = y.len() - pixel.len();
            options.activation.apply(&mut y[start..]);
        }
    }
    cpu::tensor(y, [b, pixels, channels])
}

/// Mean and `1 / sqrt(variance + eps)` of every channel's group. The one pass cancels nothing that f64 does not have.
fn statistics(image: &[f32], channels: usize, options: GroupNorm) -> (Vec<f32>, Vec<f32>) {
    let (mut sums, mut squares) = (vec![0.0_f64; channels], vec![0.0_f64; channels]);
    for pixel in image.chunks_exact(channels) {
        for (value, (sum, squares)) in pixel.iter().zip(sums.iter_mut().zip(&mut squares)) {
            let value = f64::from(*value);
            *sum += value;
            *squares += value * value;
        }
    }
    let width = channels / options.groups;
    let count = (image.len() / options.groups) as f64;
    let of_group = |(sums, squares): (&[f64], &[f64])| {
        let mean = sums.iter().sum::<f64>() / count;
        let variance = (squares.iter().sum::<f64>() / count - mean * mean).max(0.0);
        (mean as f32, (variance + f64::from(options.eps)).sqrt().recip() as f32)
    };
    let groups = sums.chunks_exact(width).zip(squares.chunks_exact(width)).map(of_group);
    groups.flat_map(|group| std::iter::repeat_n(group, width)).unzip()
}
