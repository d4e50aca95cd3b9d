//! Matrix products on the CPU. A packed weight is unpacked a panel at a time, so that its numbers never exist as a whole.

use burn_flex::{Flex, FlexTensor};
use half::f16;

use super::flex as cpu;
use super::weight::WeightPrimitive;
use crate::quantization::{BLOCK, Layout, Quant};

/// Columns and rows of the largest panel: 1 MiB of numbers, which a core's cache holds.
const PANEL_COLUMNS: usize = 1024;
const PANEL_ROWS: usize = 256;

/// `x [rows, k] · weight`, `[rows, n rounded up to 4]`.
pub(super) fn product(x: Vec<f32>, rows: usize, weight: &WeightPrimitive<Flex>) -> Vec<f32> {
    match weight {
        WeightPrimitive::F32(weight) => cpu::matmul(x, rows, weight.clone()),
        WeightPrimitive::Packed { quant, layout, words, scales } => {
            let packed =
                Packed { quant: *quant, layout: *layout, words: words.storage(), scales: scales.storage() };
            let k = layout.taps * layout.channels;
            packed.product(&cpu::tensor(x, [rows, k]), rows)
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
    blocks: std::ops::Range<usize>,
    groups: std::ops::Range<usize>,
}

impl Packed<'_> {
    fn product(&self, x: &FlexTensor, rows: usize) -> Vec<f32> {
        let n4 = self.layout.n4();
        let mut y = vec![0.0; rows * n4 * 4];
        let mut weight = Vec::new();
        for first in (0..n4).step_by(PANEL_COLUMNS / 4) {
            let groups = first..(first + PANEL_COLUMNS / 4).min(n4);
            let mut k = 0;
            for block in (0..self.layout.blocks()).step_by(PANEL_ROWS / BLOCK) {
                let blocks = block..(block + PANEL_ROWS / BLOCK).min(self.layout.blocks());
                let width = groups.len() * 4;
                self.unpack(&Panel { blocks, groups: groups.clone() }, &mut weight);
                let depth = weight.len() / width;
                let right = cpu::tensor(std::mem::take(&mut weight), [depth, width]);
                let part = cpu::multiply(x.narrow(1, k, depth), right);
                for (y, part) in y.chunks_exact_mut(n4 * 4).zip(part.storage::<f32>().chunks_exact(width)) {
                    let y = &mut y[first * 4..first * 4 + width];
                    y.iter_mut().zip(part).for_each(|(y, part)| *y += part);
                }
                k += depth;
            }
        }
        y
    }

    /// The numbers of a panel, row by row; rows that only fill a tap's last block are left out.
    fn unpack(&self, panel: &Panel, to: &mut Vec<f32>) {
        let (n4, tap_blocks) = (self.layout.n4(), self.layout.tap_blocks());
        let width = panel.groups.len() * 4;
        let mut scales = Vec::with_capacity(width);
        to.clear();
        to.resize(panel.blocks.len() * BLOCK * width, 0.0);
        let mut filled = 0;
        for block in panel.blocks.clone() {
            let rows = (self.layout.channels - block % tap_blocks * BLOCK).min(BLOCK);
            scales.clear();
            for pair in &self.scales[block * n4 * 2..][panel.groups.start * 2..panel.groups.end * 2] {
                scales.extend([*pair as u16, (*pair >> 16) as u16].map(|bits| f16::from_bits(bits).to_f32()));
            }
            let words = &self.words[block * self.quant.block_words() * n4..];
            let line = |at: usize| &words[at * n4..][panel.groups.clone()];
            for (row, to) in to[filled..filled + rows * width].chunks_exact_mut(width).enumerate() {
                match self.quant {
                    Quant::Q8 => row_of_q8(line(row), &scales, to),
                    Quant::Q4 => row_of_q4(line(row / 2), row % 2, &scales, to),
                    Quant::Q6 => row_of_q6(line(row / 2), line(16 + row / 4), row % 4, &scales, to),
                }
            }
            filled += rows * width;
        }
        to.truncate(filled);
    }
}

fn row_of_q8(words: &[u32], scales: &[f32], to: &mut [f32]) {
    for ((to, word), scales) in to.chunks_exact_mut(4).zip(words).zip(scales.chunks_exact(4)) {
        let integers = word.to_le_bytes();
        for lane in 0..4 {
            to[lane] = f32::from(integers[lane] as i8) * scales[lane];
        }
    }
}

fn row_of_q4(words: &[u32], odd: usize, scales: &[f32], to: &mut [f32]) {
    for ((to, word), scales) in to.chunks_exact_mut(4).zip(words).zip(scales.chunks_exact(4)) {
        let half = word >> (16 * odd);
        for lane in 0..4 {
            to[lane] = ((half >> (4 * lane) & 0xf) as i32 - 8) as f32 * scales[lane];
        }
    }
}

fn row_of_q6(words: &[u32], high: &[u32], row: usize, scales: &[f32], to: &mut [f32]) {
    let columns = to.chunks_exact_mut(4).zip(scales.chunks_exact(4));
    for ((to, scales), (word, high)) in columns.zip(words.iter().zip(high)) {
        let (half, pairs) = (word >> (16 * (row % 2)), high >> (8 * row));
        for lane in 0..4 {
            let integer = half >> (4 * lane) & 0xf | (pairs >> (2 * lane) & 0x3) << 4;
            to[lane] = (integer as i32 - 32) as f32 * scales[lane];
        }
    }
}
