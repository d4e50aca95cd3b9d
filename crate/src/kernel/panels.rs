//! Matrix products on the CPU. A packed weight is unpacked a panel at a time, so that its numbers never exist as a whole.

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
            packed.multiply(y, x);
        }
    }
}

/// All rows of some groups of four columns of a weight of `n` columns; `numbers` is where they are unpacked to.
pub(super) fn columns<'a>(
    weight: &'a WeightPrimitive<Flex>,
    n: usize,
    groups: Range<usize>,
    numbers: &'a mut Vec<f32>,
) -> Matrix<'a> {
    match weight {
        WeightPrimitive::F32(weight) => {
            Matrix::rows(&weight.storage()[groups.start * 4..], n.next_multiple_of(4))
        }
        WeightPrimitive::Packed { quant, layout, words, scales } => {
            let packed =
                Packed { quant: *quant, layout: *layout, words: words.storage(), scales: scales.storage() };
            let stride = groups.len() * 4;
            packed.unpack(&Panel { blocks: 0..layout.blocks(), groups }, numbers);
            Matrix::rows(numbers, stride)
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
    fn multiply(&self, y: &mut [f32], x: &Left<'_>) {
        let n = self.layout.n;
        let mut numbers = Vec::new();
        for first in (0..self.layout.n4()).step_by(PANEL_COLUMNS / 4) {
            let groups = first..(first + PANEL_COLUMNS / 4).min(self.layout.n4());
            let stride = groups.len() * 4;
            let columns = stride.min(n - first * 4);
            let mut k = 0;
            for block in (0..self.layout.blocks()).step_by(PANEL_ROWS / BLOCK) {
                let blocks = block..(block + PANEL_ROWS / BLOCK).min(self.layout.blocks());
                self.unpack(&Panel { blocks, groups: groups.clone() }, &mut numbers);
                let depth = numbers.len() / stride;
                let right = Matrix::rows(&numbers, stride);
                x.multiply(&mut y[first * 4..], n, k..k + depth, right, columns);
                k += depth;
            }
        }
    }

    /// The numbers of a panel, row by row; rows that only fill a tap's last block are left out.
    fn unpack(&self, panel: &Panel, to: &mut Vec<f32>) {
        let width = panel.groups.len() * 4;
        let rows =
            |block: usize| (self.layout.channels - block % self.layout.tap_blocks() * BLOCK).min(BLOCK);
        to.resize(panel.blocks.clone().map(rows).sum::<usize>() * width, 0.0);
        let mut rest = to.as_mut_slice();
        let mut parts = Vec::new();
        for block in panel.blocks.clone() {
            let (part, others) = std::mem::take(&mut rest).split_at_mut(rows(block) * width);
            parts.push((block, part));
            rest = others;
        }
        each(parts, |(block, part)| self.unpack_block(block, &panel.groups, part));
    }

    /// The rows of one block that `to` has room for.
    fn unpack_block(&self, block: usize, groups: &Range<usize>, to: &mut [f32]) {
        let (n4, width) = (self.layout.n4(), groups.len() * 4);
        let halves = |pair: &u32| [*pair as u16, (*pair >> 16) as u16];
        let scales: Vec<f32> = self.scales[block * n4 * 2..][groups.start * 2..groups.end * 2]
            .iter()
            .flat_map(halves)
            .map(|bits| f16::from_bits(bits).to_f32())
            .collect();
        let words = &self.words[block * self.quant.block_words() * n4..];
        let line = |at: usize| &words[at * n4..][groups.clone()];
        for (row, to) in to.chunks_exact_mut(width).enumerate() {
            match self.quant {
                Quant::Q8 => row_of_q8(line(row), &scales, to),
                Quant::Q4 => row_of_q4(line(row / 2), row % 2, &scales, to),
                Quant::Q6 => row_of_q6(line(row / 2), line(16 + row / 4), row % 4, &scales, to),
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

fn row_of_q8(words: &[u32], scales: &[f32], to: &mut [f32]) {
    let columns = to.as_chunks_mut::<4>().0.iter_mut().zip(scales.as_chunks::<4>().0);
    for ((to, scales), word) in columns.zip(words) {
        let integers = word.to_le_bytes().map(|byte| f32::from(byte as i8));
        *to = std::array::from_fn(|lane| integers[lane] * scales[lane]);
    }
}

fn row_of_q4(words: &[u32], odd: usize, scales: &[f32], to: &mut [f32]) {
    let columns = to.as_chunks_mut::<4>().0.iter_mut().zip(scales.as_chunks::<4>().0);
    for ((to, scales), word) in columns.zip(words) {
        let half = word >> (16 * odd);
        *to = std::array::from_fn(|lane| in_place(half, 0xf, 4 * lane) * scales[lane] - 8.0 * scales[lane]);
    }
}

fn row_of_q6(words: &[u32], high: &[u32], row: usize, scales: &[f32], to: &mut [f32]) {
    let columns = to.as_chunks_mut::<4>().0.iter_mut().zip(scales.as_chunks::<4>().0);
    for ((to, scales), (word, high)) in columns.zip(words.iter().zip(high)) {
        let (half, pairs) = (word >> (16 * (row % 2)), high >> (8 * row));
        *to = std::array::from_fn(|lane| {
            let integer = in_place(half, 0xf, 4 * lane) + 16.0 * in_place(pairs, 0x3, 2 * lane);
            integer * scales[lane] - 32.0 * scales[lane]
        });
    }
}

/// The bits of `word` under `mask` moved up by `shift`, as a number: divided by a power of two after the conversion,
/// which is exact, because vector units of before AVX2 have one shift for all lanes.
fn in_place(word: u32, mask: u32, shift: usize) -> f32 {
    (word & mask << shift) as i32 as f32 * (1.0 / (1_u32 << shift) as f32)
}
