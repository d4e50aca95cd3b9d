//! Group normalisation with an optional SiLU.

use burn::backend::{DType, Dispatch, TensorMetadata as _};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;
use burn_wgpu::CubeTensor;

use super::shader::{Shader, Variant, can_overwrite, fold, launch, launch_as, launch_onto, shader};
use super::storage::Storage;
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
/// Invocations that sum up a group: there are only as many workgroups as groups.
const STATISTICS_WORKGROUP: u32 = 256;

fn statistics_variant(storage: Storage, width: usize) -> Variant {
    let lane = if width.is_multiple_of(4) { 4 } else { 1 + u32::from(width.is_multiple_of(2)) };
    Variant::new(&STATISTICS, &[("WG_X", STATISTICS_WORKGROUP), ("LANE", lane), storage.define()])
}

fn apply_variant(storage: Storage, lane: usize, activation: Activation, in_place: bool) -> Variant {
    let defines = [
        ("WG_X", WORKGROUP),
        ("LANE", lane as u32),
        ("ACTIVATION", activation.define()),
        ("IN_PLACE", in_place.into()),
        storage.define(),
    ];
    Variant::new(&APPLY, &defines)
}

/// Channels that are read at a time.
fn lane(channels: usize) -> usize {
    if channels.is_multiple_of(4) { 4 } else { 1 }
}

pub(super) fn variants(storage: Storage) -> Vec<Variant> {
    let apply = |lane| {
        [(Activation::None, false), (Activation::Silu, false), (Activation::Silu, true)]
            .map(|(activation, in_place)| apply_variant(storage, lane, activation, in_place))
    };
    let statistics = [1, 2, 4].map(|width| statistics_variant(storage, width));
    statistics.into_iter().chain(apply(4)).chain(apply(1)).collect()
}

pub(super) fn cube(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, options: GroupNorm) -> CubeTensor {
    let [b, pixels, channels] = x.shape().dims();
    let storage = Storage::of(&x);
    let statistics = launch_as(
        DType::F32,
        statistics_variant(storage, channels / options.groups),
        vec![x.clone(), weight],
        Shape::new([b, 2, channels]),
        [options.groups as u32, b as u32, 1],
        &[pixels as u32, channels as u32, options.groups as u32, options.eps.to_bits()],
    );
    let lane = lane(channels);
    let [image, pixel] = [pixels * channels, channels].map(|size| size / lane);
    let (groups, row) = fold(b * image, WORKGROUP);
    let info = [image as u32, pixel as u32, (b * image) as u32, row];
    let in_place = can_overwrite(&x);
    let variant = apply_variant(storage, lane, options.activation, in_place);
    if in_place {
        return launch_onto(variant, vec![statistics, bias], x, groups, &info);
    }
    let shape = x.shape();
    launch(variant, vec![x, statistics, bias], shape, groups, &info)
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
