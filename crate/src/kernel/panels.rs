//! Matrix products on the CPU. A packed weight is unpacked a panel at a time, so that its numbers never exist as a whole.

use std::cell::Cell;
use std::ops::Range;

use burn::backend::TensorMetadata as _;
use burn_flex::Flex;
use half::f16;

use super::flex::{self as cpu, Matrix};
use super::weight::WeightPrimitive;
use crate::quantization::{BLOCK, Layout, Quant};

/// Columns and rows of the largest panel: 2 MiB of numbers, which a core's cache holds.
const PANEL_COLUMNS: usize = 1024;
const PANEL_ROWS: usize = 512;

thread_local! {
    static NUMBERS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Lends `work` memory to unpack panels to, always the same: fresh memory would have to be cleared.
fn with_numbers(work: impl FnOnce(&mut Vec<f32>)) {
    let mut numbers = NUMBERS.take();
    work(&mut numbers);
    NUMBERS.set(numbers);
}

/// The left side of a product, `[rows, k]`: its columns lie in one slice, or the next ones in the next slice.
pub(super) struct Left<'a> {
    rows: usize,
    parts: Vec<&'a [f32]>,
}

impl<'a> Left<'a> {
    pub(super) fn of(parts: impl IntoIterator<Item = &'a [f32]>, rows: usize) -> Self {
        Self { rows, parts: parts.into_iter().collect() }
    }

    /// `y [rows, n] +=` some of the columns `· right`, which has a row for each of them and `n` columns; rows of y start
    /// `stride` values apart.
    fn multiply(&self, y: &mut [f32], stride: usize, columns: Range<usize>, right: Matrix<'_>, n: usize) {
        let mut before = 0;
        for part in &self.parts {
            let width = part.len() / self.rows.max(1);
            let own = columns.start.max(before)..columns.end.min(before + width);
            if !own.is_empty() {
                let left = Matrix::rows(&part[own.start - before..], width);
                let values = &right.values[(own.start - columns.start) * right.row..];
                let size = [self.rows, own.len(), n];
                cpu::multiply(y, stride, false, left, Matrix { values, ..right }, size);
            }
            before += width;
        }
    }
}

/// `y [rows, n] += x [rows, k] · weight`.
pub(super) fn multiply(y: &mut [f32], x: &Left<'_>, weight: &WeightPrimitive<Flex>, n: usize) {
    match weight {
        WeightPrimitive::F32(weight) => {
            let stride = n.next_multiple_of(4);
            let k = weight.shape().dims::<2>()[0];
            x.multiply(y, n, 0..k, Matrix::rows(weight.storage(), stride), n);
        }
        WeightPrimitive::Packed { quant, layout, words, scales } => {
            let packed =
                Packed { quant: *quant, layout: *layout, words: words.storage(), scales: scales.storage() };
            with_numbers(|numbers| packed.multiply(y, x, numbers));
        }
    }
}

/// Hands `work` all rows of some groups of four columns of a weight of `n` columns.
pub(super) fn with_columns(
    weight: &WeightPrimitive<Flex>,
    n: usize,
    groups: Range<usize>,
    work: impl FnOnce(Matrix<'_>),
) {
    match weight {
        WeightPrimitive::F32(weight) => {
            work(Matrix::rows(&weight.storage()[groups.start * 4..], n.next_multiple_of(4)));
        }
        WeightPrimitive::Packed { quant, layout, words, scales } => {
            let packed =
                Packed { quant: *quant, layout: *layout, words: words.storage(), scales: scales.storage() };
            let stride = groups.len() * 4;
            let panel = Panel { blocks: 0..layout.blocks(), groups };
            with_numbers(|numbers| work(Matrix::rows(packed.unpack(&panel, numbers), stride)));
        }
    }
}

/// Blocks in the order of [`crate::quantization`].
struct Packed<'a> {
    quant: Quant,
    layout: Layout,
    words: &'a [u32],
    scales: &'a [u32],
}

/// Part of a weight: blocks of rows, groups of four columns.
struct Panel {
    blocks: Range<usize>,
    groups: Range<usize>,
}

impl Packed<'_> {
    fn multiply(&self, y: &mut [f32], x: &Left<'_>, numbers: &mut Vec<f32>) {
        let n = self.layout.n;
        for first in (0..self.layout.n4()).step_by(PANEL_COLUMNS / 4) {
            let groups = first..(first + PANEL_COLUMNS / 4).min(self.layout.n4());
            let stride = groups.len() * 4;
            let columns = stride.min(n - first * 4);
            let mut k = 0;
            for block in (0..self.layout.blocks()).step_by(PANEL_ROWS / BLOCK) {
                let blocks = block..(block + PANEL_ROWS / BLOCK).min(self.layout.blocks());
                let depth = self.rows(&blocks);
                let right =
                    Matrix::rows(self.unpack(&Panel { blocks, groups: groups.clone() }, numbers), stride);
                x.multiply(&mut y[first * 4..], n, k..k + depth, right, columns);
                k += depth;
            }
        }
    }

    /// The numbers of a panel, row by row; rows that only fill a tap's last block are left out.
    fn unpack<'b>(&self, panel: &Panel, to: &'b mut Vec<f32>) -> &'b [f32] {
        let width = panel.groups.len() * 4;
        let size = self.rows(&panel.blocks) * width;
        if to.len() < size {
            to.resize(size, 0.0);
        }
        let to = &mut to[..size];
        let mut rest = &mut *to;
        let mut parts = Vec::new();
        for block in panel.blocks.clone() {
            let part = self.rows(&(block..block + 1)) * width;
            let (part, others) = std::mem::take(&mut rest).split_at_mut(part);
            parts.push((block, part));
            rest = others;
        }
        each(parts, |(block, part)| self.unpack_block(block, &panel.groups, part));
        to
    }

    /// Rows of some blocks that are no filling.
    fn rows(&self, blocks: &Range<usize>) -> usize {
        let rows =
            |block: usize| (self.layout.channels - block % self.layout.tap_blocks() * BLOCK).min(BLOCK);
        blocks.clone().map(rows).sum()
    }

    /// The rows of one block that `to` has room for.
    fn unpack_block(&self, block: usize, groups: &Range<usize>, to: &mut [f32]) {
        let (n4, width) = (self.layout.n4(), groups.len() * 4);
        let halves = |pair: u32| [pair as u16, (pair >> 16) as u16].map(|bits| f16::from_bits(bits).to_f32());
        let mut scales: Scales = std::array::from_fn(|_| Vec::with_capacity(groups.len()));
        let pairs = &self.scales[block * n4 * 2..][groups.start * 2..groups.end * 2];
        for pair in pairs.as_chunks().0 {
            let [[a, b], [c, d]] = pair.map(halves);
            scales.iter_mut().zip([a, b, c, d]).for_each(|(scales, scale)| scales.push(scale));
        }
        let words = &self.words[block * self.quant.block_words() * n4..];
        let line = |at: usize| &words[at * n4..][groups.clone()];
        for (row, to) in to.chunks_exact_mut(width).enumerate() {
            match self.quant {
                Quant::Q8 => row_of_q8(line(row), &scales, to),
                Quant::Q4 => row_of_q4(line(row / 2), (row % 2) as u32, &scales, to),
                Quant::Q6 => row_of_q6(line(row / 2), line(16 + row / 4), (row % 4) as u32, &scales, to),
            }
        }
    }
}

/// Does `work` on every item, with all threads that there are.
#[cfg(not(target_family = "wasm"))]
fn each<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync + Send) {
    use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
    items.into_par_iter().for_each(work);
}

#[cfg(target_family = "wasm")]
fn each<T>(items: Vec<T>, work: impl Fn(T)) {
    items.into_iter().for_each(work);
}

/// Scales of each group's first column, then of its second one, and so on.
type Scales = [Vec<f32>; 4];

fn row_of_q8(words: &[u32], scales: &Scales, to: &mut [f32]) {
    row(words.iter(), scales, to, |word, lane| ((word << (24 - 8 * lane)) as i32) >> 24);
}

fn row_of_q4(words: &[u32], odd: u32, scales: &Scales, to: &mut [f32]) {
    row(words.iter(), scales, to, |word, lane| (word >> (16 * odd + 4 * lane) & 0xf) as i32 - 8);
}

fn row_of_q6(words: &[u32], high: &[u32], row_of_four: u32, scales: &Scales, to: &mut [f32]) {
    row(words.iter().zip(high), scales, to, |(word, high), lane| {
        let low = word >> (16 * (row_of_four % 2) + 4 * lane) & 0xf;
        (low + 16 * (high >> (8 * row_of_four + 2 * lane) & 0x3)) as i32 - 32
    });
}

/// `integer` of each group's words and of each of its four lanes, times its scale. One lane of several groups fills a
/// vector: before AVX2, vector units have one shift for all their numbers.
#[inline(always)]
fn row<W: Copy>(
    words: impl Iterator<Item = W>,
    [first, second, third, fourth]: &Scales,
    to: &mut [f32],
    integer: impl Fn(W, u32) -> i32,
) {
    let scales = first.iter().zip(second).zip(third.iter().zip(fourth));
    for ((to, words), ((a, b), (c, d))) in to.as_chunks_mut::<4>().0.iter_mut().zip(words).zip(scales) {
        let scales = [a, b, c, d];
        *to = std::array::from_fn(|lane| integer(words, lane as u32) as f32 * scales[lane]);
    }
}
