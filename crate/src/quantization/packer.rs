//! Weights into blocks, a few columns or rows at a time.

use wide::f32x4;

use super::quantize::{Blocks, quantize, range};
use super::{BLOCK, GROUP, Layout, Packed, Quant};

/// First word of a Q6 block with upper bits.
const HIGH_ROW: usize = 16;

/// Most words of a block.
const MOST_WORDS: usize = 32;

/// A weight that is packed as its numbers arrive: only its packed form is held.
#[derive(Debug)]
pub struct Packer {
    quant: Quant,
    layout: Layout,
    packed: Packed,
    /// Columns, or rows of a table, that have come.
    filled: usize,
}

impl Packer {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(quant: Quant, layout: Layout) -> Self {
        let packed = Packed { words: vec![0; layout.words(quant)], scales: vec![0; layout.scales()] };
        Self { quant, layout, packed, filled: 0 }
    }

    /// Takes the next columns, `[columns, channels, taps]`: a multiple of [`GROUP`] of them, or all that are left. Numbers
    /// beyond the weight are passed over.
    pub fn push_columns(&mut self, values: &[f32]) {
        let column = self.layout.channels * self.layout.taps;
        for group in values.chunks(column * GROUP) {
            let width = (group.len() / column).min(self.layout.n.saturating_sub(self.filled));
            for at in 0..self.layout.blocks() {
                let (tap, first) = (at / self.layout.tap_blocks(), at % self.layout.tap_blocks() * BLOCK);
                let rows = BLOCK.min(self.layout.channels - first);
                let blocks = gather(self.layout.taps, rows, |lane| {
                    let start = if lane < width { lane * column + first * self.layout.taps + tap } else { 0 };
                    group.get(start..).unwrap_or_default()
                });
                self.put(at, self.filled / GROUP, width, &blocks);
            }
            self.filled += width;
        }
    }

    /// Takes the next rows of a table, `[rows, n]` of a weight `[n, rows]` of one tap: a multiple of [`BLOCK`] of them, or
    /// all that are left. Rows beyond the weight are passed over.
    pub fn push_rows(&mut self, values: &[f32]) {
        let n = self.layout.n;
        for rows in values.chunks(n * BLOCK) {
            let height = (rows.len() / n).min(self.layout.channels.saturating_sub(self.filled));
            for group in (0..self.layout.n4()).filter(|_| height > 0) {
                let width = GROUP.min(n - group * GROUP);
                let blocks = gather(n, height, |lane| {
                    let start = group * GROUP + if lane < width { lane } else { 0 };
                    rows.get(start..).unwrap_or_default()
                });
                self.put(self.filled / BLOCK, group, width, &blocks);
            }
            self.filled += height;
        }
    }

    /// The packed weight; what has not come is zero.
    #[must_use]
    pub fn finish(self) -> Packed {
        self.packed
    }

    /// Packs the first `width` of the columns' blocks.
    fn put(&mut self, at: usize, group: usize, width: usize, blocks: &Blocks) {
        if width == 0 {
            return;
        }
        let mut words = [0; MOST_WORDS];
        let scales = at * self.layout.n4() * GROUP + group * GROUP;
        let (found, mut integers) = quantize(self.quant, blocks);
        self.packed.scales[scales..scales + width].copy_from_slice(&found[..width]);
        if width < GROUP {
            // Integers that stand for zeros everywhere.
            let none = if self.quant == Quant::Q8 { 0 } else { range(self.quant).0 };
            integers.iter_mut().for_each(|four| four[width..].fill(none));
        }
        store(self.quant, &integers, &mut words);
        let (count, n4) = (self.quant.block_words(), self.layout.n4());
        let places = self.packed.words[at * count * n4 + group..].iter_mut().step_by(n4);
        places.zip(&words[..count]).for_each(|(place, word)| *place = *word);
    }
}

/// Of each column's numbers, those that lie `stride` apart, filled with zeros from number `count` on.
fn gather<'a>(stride: usize, count: usize, column: impl Fn(usize) -> &'a [f32]) -> Blocks {
    let columns: [&[f32]; GROUP] = std::array::from_fn(column);
    if stride == 1 && count == BLOCK && columns.iter().all(|values| values.len() >= BLOCK) {
        return transposed(columns);
    }
    let mut blocks = [[0.0; GROUP]; BLOCK];
    for (lane, values) in columns.into_iter().enumerate() {
        let places = blocks.iter_mut().take(count);
        places.zip(values.iter().step_by(stride)).for_each(|(four, value)| four[lane] = *value);
    }
    blocks.map(f32x4::new)
}

fn transposed(columns: [&[f32]; GROUP]) -> Blocks {
    let mut blocks = [f32x4::ZERO; BLOCK];
    for (i, four) in blocks.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let of = |values: &[f32]| f32x4::new(*values[GROUP * i..].first_chunk().unwrap_or(&[0.0; GROUP]));
        *four = f32x4::transpose(columns.map(of));
    }
    blocks
}

/// Makes words of four columns' integers.
fn store(quant: Quant, integers: &[[i32; GROUP]; BLOCK], words: &mut [u32; MOST_WORDS]) {
    let low = range(quant).0;
    let joined = |four: [u32; GROUP], bits: usize| {
        four[0] | four[1] << bits | four[2] << (2 * bits) | four[3] << (3 * bits)
    };
    match quant {
        Quant::Q8 => {
            for (word, four) in words.iter_mut().zip(integers) {
                *word = joined(four.map(|integer| integer as u32 & 0xff), 8);
            }
        }
        Quant::Q4 => {
            for (word, [even, odd]) in words.iter_mut().zip(integers.as_chunks().0) {
                let two = |lane: usize| (even[lane] - low) as u32 | ((odd[lane] - low) as u32) << 16;
                *word = joined(std::array::from_fn(two), 4);
            }
        }
        Quant::Q6 => {
            let (lower, upper) = words.split_at_mut(HIGH_ROW);
            for (word, [even, odd]) in lower.iter_mut().zip(integers.as_chunks().0) {
                let nibble = |integer: i32| (integer - low) as u32 & 0xf;
                *word = joined(std::array::from_fn(|lane| nibble(even[lane]) | nibble(odd[lane]) << 16), 4);
            }
            for (word, rows) in upper.iter_mut().zip(integers.as_chunks::<4>().0) {
                for (row, four) in rows.iter().enumerate() {
                    *word |= joined(four.map(|integer| (integer - low) as u32 >> 4), 2) << (8 * row);
                }
            }
        }
    }
}

/// The integer of a row and column of a block whose words lie `n4` apart.
pub(super) fn load(quant: Quant, words: &[u32], n4: usize, lane: usize, row: usize) -> i32 {
    let low = range(quant).0;
    let nibble = 16 * (row % 2) + 4 * lane;
    match quant {
        Quant::Q8 => i32::from((words[row * n4] >> (8 * lane)) as u8 as i8),
        Quant::Q4 => (words[row / 2 * n4] >> nibble & 0xf) as i32 + low,
        Quant::Q6 => {
            let lower = words[row / 2 * n4] >> nibble & 0xf;
            let upper = words[(HIGH_ROW + row / 4) * n4] >> (8 * (row % 4) + 2 * lane) & 0x3;
            (lower | upper << 4) as i32 + low
        }
    }
}
