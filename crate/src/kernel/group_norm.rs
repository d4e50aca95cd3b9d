//! Group normalisation with an optional SiLU.

use burn::backend::{DType, Dispatch, TensorMetadata as _};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;
use burn_wgpu::CubeTensor;

use super::shader::{Shader, Variant, can_overwrite, fold, launch, launch_as, launch_onto, shader};
use super::storage::Storage;
use super::strategy::Adapter;
use super::weight::maybe;
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
    let statistics = group_statistics([&x], weight, options);
    group_norm_apply(vec![x], &statistics, bias, options.activation)
}

/// What [`group_norm_apply`] needs of pictures that lie in `slabs` of their pixels, each `[b, pixels, channels]`; as
/// exact as of the whole. One slab at least.
#[must_use]
pub fn group_statistics<'a>(
    slabs: impl IntoIterator<Item = &'a Tensor<3>, IntoIter: ExactSizeIterator>,
    weight: &Tensor<1>,
    options: GroupNorm,
) -> Tensor<3> {
    let slabs = slabs.into_iter();
    let count = slabs.len();
    let (mut before, mut statistics) = (0, None);
    for (i, slab) in slabs.enumerate() {
        let place = Place { before, last: i + 1 == count };
        before += slab.dims()[1];
        statistics = Some(Tensor::from_dispatch(<Dispatch as Kernels>::group_statistics(
            slab.clone().into_dispatch(),
            maybe(statistics),
            weight.clone().into_dispatch(),
            options,
            place,
        )));
    }
    let Some(statistics) = statistics else { unreachable!("there is a slab") };
    statistics
}

/// Normalises `pieces` of one picture, each `[1, pixels, channels]`, by the [`group_statistics`] of all of it, and puts
/// them one after the other; or several pictures, if there is one piece. The result takes the memory of a single piece
/// that nobody else needs.
#[must_use]
pub fn group_norm_apply(
    mut pieces: Vec<Tensor<3>>,
    statistics: &Tensor<3>,
    bias: &Tensor<1>,
    activation: Activation,
) -> Tensor<3> {
    let apply = |x: Tensor<3>, y: Option<Tensor<3>>, at: usize| {
        Tensor::from_dispatch(<Dispatch as Kernels>::group_norm_apply(
            x.into_dispatch(),
            statistics.clone().into_dispatch(),
            bias.clone().into_dispatch(),
            activation,
            maybe(y),
            at,
        ))
    };
    if pieces.len() == 1
        && let Some(x) = pieces.pop()
    {
        return apply(x, None, 0);
    }
    let pixels = pieces.iter().map(|piece| piece.dims()[1]).sum();
    let dtype = pieces.first().map_or(DType::F32, Tensor::dtype);
    let y = Tensor::empty([1, pixels, bias.dims()[0]], (&bias.device(), dtype));
    let put = |(y, at), piece: Tensor<3>| {
        let next = at + piece.dims()[1];
        (apply(piece, Some(y), at), next)
    };
    pieces.into_iter().fold((y, 0), put).0
}

/// Where a slab is in its picture.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Pixels in the slabs before.
    before: usize,
    /// Whether none follows.
    last: bool,
}

const WORKGROUP: u32 = 64;
/// Invocations that sum up a group: there are only as many workgroups as groups.
const STATISTICS_WORKGROUP: u32 = 256;

fn statistics_variant(adapter: Adapter, storage: Storage, width: usize, place: Place) -> Variant {
    let lane = if width.is_multiple_of(4) { 4 } else { 1 + u32::from(width.is_multiple_of(2)) };
    let defines = [
        ("WG_X", adapter.workgroup(STATISTICS_WORKGROUP)),
        ("LANE", lane),
        ("BEFORE", (place.before > 0).into()),
        ("LAST", place.last.into()),
        storage.define(),
    ];
    Variant::new(&STATISTICS, &defines)
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
    let places = [(0, true), (0, false), (1, false), (1, true)].map(|(before, last)| Place { before, last });
    let of_place = |place: Place| {
        let of = move |adapter| [1, 2, 4].map(|width| statistics_variant(adapter, storage, width, place));
        Adapter::KINDS.into_iter().flat_map(of)
    };
    let statistics = places.into_iter().flat_map(of_place);
    statistics.chain(apply(4)).chain(apply(1)).collect()
}

/// Mean and scale of every channel; of slabs that others follow, mean and variance of every group.
fn statistics_shape(b: usize, channels: usize, options: GroupNorm, place: Place) -> [usize; 3] {
    if place.last { [b, 2, channels] } else { [b, options.groups, 2] }
}

/// On a GPU.
pub(super) mod cube {
    use super::*;

    pub(crate) fn statistics(
        x: CubeTensor,
        before: Option<CubeTensor>,
        weight: CubeTensor,
        options: GroupNorm,
        place: Place,
    ) -> CubeTensor {
        let [b, pixels, channels] = x.shape().dims();
        let GroupNorm { groups, eps, .. } = options;
        let weight = place.last.then_some(weight);
        launch_as(
            DType::F32,
            statistics_variant(Adapter::current(), Storage::of(&x), channels / groups, place),
            [Some(x), before, weight].into_iter().flatten().collect(),
            Shape::new(statistics_shape(b, channels, options, place)),
            [groups as u32, b as u32, 1],
            &[pixels as u32, channels as u32, groups as u32, eps.to_bits(), place.before as u32],
        )
    }

    pub(crate) fn apply(
        x: CubeTensor,
        statistics: CubeTensor,
        bias: CubeTensor,
        activation: Activation,
        y: Option<CubeTensor>,
        at: usize,
    ) -> CubeTensor {
        let [b, pixels, channels] = x.shape().dims();
        let lane = lane(channels);
        let [image, pixel, first] = [pixels * channels, channels, at * channels].map(|size| size / lane);
        let (groups, row) = fold(b * image, WORKGROUP);
        let info = [image as u32, pixel as u32, (b * image) as u32, row, first as u32];
        let in_place = y.is_none() && can_overwrite(&x);
        let variant = apply_variant(Storage::of(&x), lane, activation, in_place);
        if in_place {
            return launch_onto(variant, vec![statistics, bias], x, groups, &info);
        }
        match y {
            Some(y) => launch_onto(variant, vec![x, statistics, bias], y, groups, &info),
            None => {
                let shape = x.shape();
                launch(variant, vec![x, statistics, bias], shape, groups, &info)
            }
        }
    }
}

/// On the CPU.
pub(super) mod flex {
    use super::*;

    pub(crate) fn statistics(
        x: FlexTensor,
        before: Option<FlexTensor>,
        weight: FlexTensor,
        options: GroupNorm,
        place: Place,
    ) -> FlexTensor {
        let [b, pixels, channels] = x.shape().dims();
        let [x, weight] = [x, weight].map(cpu::contiguous);
        let before = before.map(cpu::contiguous);
        let mut y = Vec::new();
        for (image, values) in cpu::slice(&x).chunks_exact(pixels * channels).enumerate() {
            let mut groups = means_and_variances(values, channels, options);
            if let Some(before) = &before {
                let share = pixels as f64 / (place.before + pixels) as f64;
                let earlier = cpu::slice(before)[image * 2 * options.groups..].chunks_exact(2);
                let earlier = earlier.map(|pair| [pair[0], pair[1]].map(f64::from));
                groups = groups
                    .into_iter()
                    .zip(earlier)
                    .map(|(own, earlier)| merged(earlier, own, share))
                    .collect();
            }
            if place.last {
                let of_channel = |channel: usize| groups[channel / (channels / options.groups)];
                y.extend((0..channels).map(|channel| of_channel(channel)[0] as f32));
                let scale = |channel| (of_channel(channel)[1] + f64::from(options.eps)).sqrt().recip() as f32;
                y.extend(
                    (0..channels).zip(cpu::slice(&weight)).map(|(channel, weight)| scale(channel) * weight),
                );
            } else {
                y.extend(groups.into_iter().flatten().map(|value| value as f32));
            }
        }
        cpu::tensor(y, statistics_shape(b, channels, options, place))
    }

    pub(crate) fn apply(
        x: FlexTensor,
        statistics: FlexTensor,
        bias: FlexTensor,
        activation: Activation,
        y: Option<FlexTensor>,
        at: usize,
    ) -> FlexTensor {
        let shape: [usize; 3] = y.as_ref().unwrap_or(&x).shape().dims();
        let [_, pixels, channels] = x.shape().dims();
        let [x, statistics, bias] = [x, statistics, bias].map(cpu::contiguous);
        let mut y = y.map_or_else(|| vec![0.0; cpu::slice(&x).len()], cpu::values);
        let rows = y[at * channels..].chunks_exact_mut(pixels * channels);
        let pictures = cpu::slice(&x).chunks_exact(pixels * channels);
        for ((x, y), statistics) in pictures.zip(rows).zip(cpu::slice(&statistics).chunks_exact(2 * channels))
        {
            let (means, scales) = statistics.split_at(channels);
            for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
                let channels = x.iter().zip(means).zip(scales.iter().zip(cpu::slice(&bias)));
                for (y, ((x, mean), (scale, bias))) in y.iter_mut().zip(channels) {
                    *y = (x - mean) * scale + bias;
                }
                activation.apply(y);
            }
        }
        cpu::tensor(y, shape)
    }
}

/// Mean and variance of two parts together, the second of which is `share` of both (Chan, Golub and LeVeque, 1979).
fn merged(first: [f64; 2], second: [f64; 2], share: f64) -> [f64; 2] {
    let difference = second[0] - first[0];
    let variance = first[1] * (1.0 - share) + second[1] * share;
    [first[0] + difference * share, variance + difference * difference * share * (1.0 - share)]
}

/// Mean and variance of every group. The one pass cancels nothing that f64 does not have.
fn means_and_variances(image: &[f32], channels: usize, options: GroupNorm) -> Vec<[f64; 2]> {
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
        [mean, (squares.iter().sum::<f64>() / count - mean * mean).max(0.0)]
    };
    sums.chunks_exact(width).zip(squares.chunks_exact(width)).map(of_group).collect()
}
