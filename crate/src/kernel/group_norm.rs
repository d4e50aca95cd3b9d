//! Group normalisation with an optional SiLU.

use burn::backend::{DType, Dispatch, TensorMetadata as _};
use burn::tensor::{Shape, Tensor};
use burn_flex::{Flex, FlexTensor};
use burn_wgpu::{CubeBackend, CubeTensor};

use super::operand::{Operand, OperandPrimitive};
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
/// x and result `[b, pixels, channels]`, weight and bias `[channels]`. The result takes the memory of an input in one
/// tensor that nobody else needs.
#[must_use]
pub fn group_norm(
    x: impl Into<Operand>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    options: GroupNorm,
) -> Tensor<3> {
    let x = x.into();
    let whole = Place { before: 0, last: true };
    let statistics = statistics_with(x.clone(), None, weight, options, whole);
    apply(x, &statistics, bias, options.activation, None, 0)
}

/// Of a slab at its place and of the [`statistics_with`] of those before.
fn statistics_with(
    x: Operand,
    before: Option<Tensor<3>>,
    weight: &Tensor<1>,
    options: GroupNorm,
    place: Place,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Kernels>::group_statistics(
        x.primitive(),
        maybe(before),
        weight.clone().into_dispatch(),
        options,
        place,
    ))
}

/// One piece, into `y` from the pixel `at` on, or into memory of its own.
fn apply(
    x: Operand,
    statistics: &Tensor<3>,
    bias: &Tensor<1>,
    activation: Activation,
    y: Option<Tensor<3>>,
    at: usize,
) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Kernels>::group_norm_apply(
        x.primitive(),
        statistics.clone().into_dispatch(),
        bias.clone().into_dispatch(),
        activation,
        maybe(y),
        at,
    ))
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
        statistics = Some(statistics_with(slab.clone().into(), statistics, weight, options, place));
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
    let apply = |x: Tensor<3>, y, at| apply(x.into(), statistics, bias, activation, y, at);
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
/// Channels that the shaders can read at a time.
const LANES: [usize; 3] = [1, 2, 4];
/// Invocations that sum up a group: there are only as many workgroups as groups.
const STATISTICS_WORKGROUP: u32 = 256;

fn statistics_variant(adapter: Adapter, storage: Storage, lane: usize, tail: bool, place: Place) -> Variant {
    let defines = [
        ("WG_X", adapter.workgroup(STATISTICS_WORKGROUP)),
        ("LANE", lane as u32),
        ("TAIL", tail.into()),
        ("IN_PLACE", 0),
        ("BEFORE", (place.before > 0).into()),
        ("LAST", place.last.into()),
        storage.define(),
    ];
    Variant::new(&STATISTICS, &defines)
}

/// Where [`apply`] finds its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// Where the result goes.
    InPlace,
    /// In one tensor.
    Whole,
    /// In two.
    WithTail,
}

fn apply_variant(storage: Storage, lane: usize, activation: Activation, input: Input) -> Variant {
    let defines = [
        ("WG_X", WORKGROUP),
        ("LANE", lane as u32),
        ("ACTIVATION", activation.define()),
        ("TAIL", (input == Input::WithTail).into()),
        ("IN_PLACE", (input == Input::InPlace).into()),
        storage.define(),
    ];
    Variant::new(&APPLY, &defines)
}

pub(super) fn variants(storage: Storage) -> Vec<Variant> {
    let apply = |lane| {
        [
            (Activation::None, Input::Whole),
            (Activation::Silu, Input::Whole),
            (Activation::Silu, Input::InPlace),
            (Activation::Silu, Input::WithTail),
        ]
        .map(|(activation, input)| apply_variant(storage, lane, activation, input))
    };
    let places = [(0, true, false), (0, true, true), (0, false, false), (1, false, false), (1, true, false)];
    let of_place = |(before, last, tail)| {
        let place = Place { before, last };
        let of = move |adapter| LANES.map(|lane| statistics_variant(adapter, storage, lane, tail, place));
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
        x: OperandPrimitive<CubeBackend>,
        before: Option<CubeTensor>,
        weight: CubeTensor,
        options: GroupNorm,
        place: Place,
    ) -> CubeTensor {
        let [b, pixels, channels] = x.dims();
        let GroupNorm { groups, eps, .. } = options;
        let width = channels / groups;
        let fits = |lane: &usize| width.is_multiple_of(*lane) && x.is_in_lanes_of(*lane);
        let lane = LANES.into_iter().rfind(fits).unwrap_or(1);
        let in_x = x.in_x() / lane;
        let weight = place.last.then_some(weight);
        launch_as(
            DType::F32,
            statistics_variant(Adapter::current(), Storage::of(&x.x), lane, x.tail().is_some(), place),
            x.into_parts().chain(before).chain(weight).collect(),
            Shape::new(statistics_shape(b, channels, options, place)),
            [groups as u32, b as u32, 1],
            &[pixels as u32, channels as u32, groups as u32, eps.to_bits(), place.before as u32, in_x as u32],
        )
    }

    pub(crate) fn apply(
        x: OperandPrimitive<CubeBackend>,
        statistics: CubeTensor,
        bias: CubeTensor,
        activation: Activation,
        y: Option<CubeTensor>,
        at: usize,
    ) -> CubeTensor {
        let [b, pixels, channels] = x.dims();
        let lane = if x.is_in_lanes_of(4) { 4 } else { 1 };
        let [image, pixel, first, in_x] =
            [pixels * channels, channels, at * channels, x.in_x()].map(|size| size / lane);
        let (groups, row) = fold(b * image, WORKGROUP);
        let info = [image as u32, pixel as u32, (b * image) as u32, row, first as u32, in_x as u32];
        let input = match x.tail() {
            Some(_) => Input::WithTail,
            None if y.is_none() && can_overwrite(&x.x) => Input::InPlace,
            None => Input::Whole,
        };
        let variant = apply_variant(Storage::of(&x.x), lane, activation, input);
        if input == Input::InPlace {
            return launch_onto(variant, vec![statistics, bias], x.x, groups, &info);
        }
        let inputs = x.into_parts().chain([statistics, bias]).collect();
        match y {
            Some(y) => launch_onto(variant, inputs, y, groups, &info),
            None => launch(variant, inputs, Shape::new([b, pixels, channels]), groups, &info),
        }
    }
}

/// On the CPU.
pub(super) mod flex {
    use super::*;

    pub(crate) fn statistics(
        x: OperandPrimitive<Flex>,
        before: Option<FlexTensor>,
        weight: FlexTensor,
        options: GroupNorm,
        place: Place,
    ) -> FlexTensor {
        let [b, pixels, channels] = x.dims();
        let parts: Vec<_> = x.into_parts().map(cpu::contiguous).collect();
        let weight = cpu::contiguous(weight);
        let before = before.map(cpu::contiguous);
        let mut y = Vec::new();
        for image in 0..b {
            let sums: Vec<_> = parts.iter().flat_map(|part| channel_sums(pixels_of(part, image))).collect();
            let mut groups = means_and_variances(&sums, pixels, options);
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
        x: OperandPrimitive<Flex>,
        statistics: FlexTensor,
        bias: FlexTensor,
        activation: Activation,
        y: Option<FlexTensor>,
        at: usize,
    ) -> FlexTensor {
        let [b, pixels, channels] = x.dims();
        let shape: [usize; 3] = y.as_ref().map_or([b, pixels, channels], |y| y.shape().dims());
        let parts: Vec<_> = x.into_parts().map(cpu::contiguous).collect();
        let [statistics, bias] = [statistics, bias].map(cpu::contiguous);
        let mut y = y.map_or_else(|| vec![0.0; b * pixels * channels], cpu::values);
        let rows = y[at * channels..].chunks_exact_mut(pixels * channels);
        let statistics = cpu::slice(&statistics).chunks_exact(2 * channels);
        for ((image, y), statistics) in (0..b).zip(rows).zip(statistics) {
            let (means, scales) = statistics.split_at(channels);
            let mut first = 0;
            for part in &parts {
                let (x, width) = pixels_of(part, image);
                let own = first..first + width;
                let of_channel =
                    means[own.clone()].iter().zip(&scales[own.clone()]).zip(&cpu::slice(&bias)[own.clone()]);
                for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(channels)) {
                    let y = &mut y[own.clone()];
                    for (y, (x, ((mean, scale), bias))) in y.iter_mut().zip(x.iter().zip(of_channel.clone()))
                    {
                        *y = (x - mean) * scale + bias;
                    }
                    activation.apply(y);
                }
                first += width;
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

/// The values of one image of a contiguous tensor `[b, pixels, channels]`, and its channels.
fn pixels_of(x: &FlexTensor, image: usize) -> (&[f32], usize) {
    let [_, pixels, channels] = x.shape().dims();
    (&cpu::slice(x)[image * pixels * channels..][..pixels * channels], channels)
}

/// For every channel the sum of its values and that of their squares.
fn channel_sums((image, channels): (&[f32], usize)) -> Vec<[f64; 2]> {
    let mut sums = vec![[0.0; 2]; channels];
    for pixel in image.chunks_exact(channels) {
        for (value, [sum, squares]) in pixel.iter().zip(&mut sums) {
            let value = f64::from(*value);
            *sum += value;
            *squares += value * value;
        }
    }
    sums
}

/// Mean and variance of every group, by [`channel_sums`]. The one pass cancels nothing that f64 does not have.
fn means_and_variances(sums: &[[f64; 2]], pixels: usize, options: GroupNorm) -> Vec<[f64; 2]> {
    let width = sums.len() / options.groups;
    let count = (pixels * width) as f64;
    let of_group = |sums: &[[f64; 2]]| {
        let [mean, squares] = [0, 1].map(|i| sums.iter().map(|sums| sums[i]).sum::<f64>() / count);
        [mean, (squares - mean * mean).max(0.0)]
    };
    sums.chunks_exact(width).map(of_group).collect()
}
