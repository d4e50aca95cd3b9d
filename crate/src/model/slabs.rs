//! Activations in slabs of rows, each a tensor of its own, for pictures that are too large to be there whole more than
//! once: a layer makes its result slab by slab, while what it needs no more of its input is given back. The results are
//! those of the whole.

use std::collections::VecDeque;
use std::ops::Range;

use burn::tensor::Tensor;

use super::layers::{Conv3x3, Image, Linear, Norm};
use super::resnet::Groups;
use crate::kernel::{Activation, Conv2d};

/// Most bytes of a slab: few beside what a decoder has to hold, and enough work for a GPU.
pub(crate) const SLAB_BYTES: usize = 4 << 20;

/// A picture of activations, `height` rows of `width` pixels.
#[derive(Debug, Clone)]
pub(crate) struct Slabs {
    /// Those that are still there, `[1, rows*width, channels]`, in order.
    slabs: VecDeque<Tensor<3>>,
    /// Where they begin.
    top: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Most bytes of those that layers make.
    most_bytes: usize,
}

/// What a slab of a convolution's result comes of.
pub(crate) struct Window {
    /// Parts of the slabs of the input, one below the other.
    pieces: Vec<Tensor<3>>,
    /// Rows of the input in these.
    held: Range<usize>,
    /// The convolution of these.
    part: Conv2d,
    /// Rows of the result.
    rows: Range<usize>,
}

impl Slabs {
    /// A whole picture as one slab, of which layers make slabs of at most `most_bytes`, and at least a row.
    pub(crate) fn new(whole: Image, most_bytes: usize) -> Self {
        let Image { pixels, height, width } = whole;
        Self { slabs: VecDeque::from([pixels]), top: 0, height, width, most_bytes }
    }

    /// The picture in one.
    pub(crate) fn whole(self) -> Image {
        Image { pixels: joined(self.slabs.into()), height: self.height, width: self.width }
    }

    /// `change` of every slab, which keeps its pixels.
    pub(crate) fn map(mut self, change: impl FnMut(Tensor<3>) -> Tensor<3>) -> Self {
        self.slabs = self.slabs.into_iter().map(change).collect();
        self
    }

    /// As [`Conv3x3::forward_with`]. `prepare` makes a window's pieces one tensor.
    pub(crate) fn conv(
        self,
        conv: &Conv3x3,
        change: impl FnOnce(Conv2d) -> Conv2d,
        mut residual: Option<Self>,
        prepare: impl Fn(Vec<Tensor<3>>) -> Tensor<3>,
    ) -> Self {
        let shape = change(self.same(conv));
        let mut result = self.result(shape);
        for mut window in self.windows(shape) {
            let pixels = prepare(std::mem::take(&mut window.pieces));
            let residual = residual.as_mut().map(|slabs| joined(slabs.take(&window.rows, window.rows.end)));
            result.slabs.push_back(window.conv(conv, pixels, residual));
        }
        result
    }

    /// A convolution as it is without a norm before it.
    pub(crate) fn conv_only(self, conv: &Conv3x3, change: impl FnOnce(Conv2d) -> Conv2d) -> Self {
        self.conv(conv, change, None, joined)
    }

    /// `conv`, which keeps the size, of the input normalised; and `shortcut` of the input itself.
    pub(crate) fn conv_and_shortcut(
        self,
        conv: &Conv3x3,
        normed: &Normed,
        shortcut: &Linear,
    ) -> (Self, Self) {
        let shape = self.same(conv);
        let (mut result, mut kept) = (self.result(shape), self.result(shape));
        for mut window in self.windows(shape) {
            let pixels = joined(std::mem::take(&mut window.pieces));
            // First, so that the norm may take the place of the input.
            kept.slabs.push_back(shortcut.forward(window.own(pixels.clone())));
            result.slabs.push_back(window.conv(conv, normed.pixels(vec![pixels]), None));
        }
        (result, kept)
    }

    fn same(&self, conv: &Conv3x3) -> Conv2d {
        Conv2d::same(self.height, self.width, conv.outputs())
    }

    /// Where the results of a convolution go.
    fn result(&self, shape: Conv2d) -> Self {
        let (height, width) = shape.output();
        Self { slabs: VecDeque::new(), top: 0, height, width, most_bytes: self.most_bytes }
    }

    /// The windows of a convolution, slab by slab of its result. What later ones do not need is forgotten.
    fn windows(mut self, shape: Conv2d) -> impl Iterator<Item = Window> {
        let spans = self.spans(&shape);
        let held: Vec<_> = spans.iter().map(|rows| shape.sees(rows)).collect();
        let most = held.iter().map(Range::len).max().unwrap_or(0);
        let next: Vec<_> = held.iter().skip(1).map(|held| held.start).chain([self.height]).collect();
        let windows = spans.into_iter().zip(held).zip(next);
        windows.map(move |((rows, held), next)| {
            // As many rows as for others, although there is nothing above the first: its memory serves them, too.
            let held = held.start..(held.start + most).min(self.height);
            let part = shape.part(&rows, &held);
            Window { pieces: self.take(&held, next), held, part, rows }
        })
    }

    /// Rows of the slabs of a convolution's result. Powers of two, so that slabs of twice the channels have half of the
    /// rows, and the same size; windows have no more than twice that.
    fn spans(&self, shape: &Conv2d) -> Vec<Range<usize>> {
        let (height, width) = shape.output();
        let channels = self.slabs.front().map_or(0, |slab| slab.dims()[2]);
        let values = (width * shape.out_channels).max(self.height * self.width * channels / height / 2);
        let most = (self.most_bytes / (values * size_of::<f32>()).max(1)).max(1);
        let rows = 1 << most.ilog2();
        (0..height).step_by(rows).map(|top| top..(top + rows).min(height)).collect()
    }

    /// The tensors that hold `rows`; after that, those wholly above the row `needed` are forgotten.
    fn take(&mut self, rows: &Range<usize>, needed: usize) -> Vec<Tensor<3>> {
        let mut pieces = Vec::new();
        let mut top = self.top;
        for slab in &self.slabs {
            let held = top..top + slab.dims()[1] / self.width;
            let from = rows.start.max(held.start)..rows.end.min(held.end);
            if !from.is_empty() {
                pieces.push(narrowed(slab.clone(), from.start - top..from.end - top, self.width));
            }
            top = held.end;
        }
        while let Some(slab) = self.slabs.front() {
            let end = self.top + slab.dims()[1] / self.width;
            if end > needed {
                break;
            }
            self.slabs.pop_front();
            self.top = end;
        }
        pieces
    }
}

impl Window {
    fn conv(self, conv: &Conv3x3, pixels: Tensor<3>, residual: Option<Tensor<3>>) -> Tensor<3> {
        let Self { part, .. } = self;
        let x = Image { pixels, height: part.height, width: part.width };
        conv.forward_with(x, |_| part, None, residual).pixels
    }

    /// Those of its `pixels` that lie where the result does, for a convolution that keeps the size.
    fn own(&self, pixels: Tensor<3>) -> Tensor<3> {
        let first = self.rows.start - self.held.start;
        narrowed(pixels, first..first + self.rows.len(), self.part.width)
    }
}

/// A group norm with the statistics of a picture.
pub(crate) struct Normed<'a> {
    norm: &'a Norm,
    statistics: Tensor<3>,
    activation: Activation,
}

impl<'a> Normed<'a> {
    /// Of the picture `x`, which is whole.
    pub(crate) fn of(x: &Slabs, norm: &'a Norm, groups: Groups, activation: Activation) -> Self {
        Self { norm, statistics: norm.statistics(&x.slabs, groups.count, groups.eps), activation }
    }

    /// Pieces of the picture, normalised, one below the other.
    pub(crate) fn pixels(&self, pieces: Vec<Tensor<3>>) -> Tensor<3> {
        self.norm.apply(pieces, &self.statistics, self.activation)
    }
}

fn narrowed(pixels: Tensor<3>, rows: Range<usize>, width: usize) -> Tensor<3> {
    let count = rows.len() * width;
    if count == pixels.dims()[1] { pixels } else { pixels.narrow(1, rows.start * width, count) }
}

/// Pieces as one tensor.
pub(crate) fn joined(mut pieces: Vec<Tensor<3>>) -> Tensor<3> {
    match pieces.len() {
        1 => pieces.swap_remove(0),
        _ => Tensor::cat(pieces, 1),
    }
}
