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
        let Layout { n, channels, taps } = self.layout;
        let column = channels * taps;
        let mut lanes = Vec::new();
        for group in values.chunks(column * GROUP) {
            let width = (group.len() / column).min(n.saturating_sub(self.filled));
            for block in 0..self.layout.tap_blocks() {
                let start = block * BLOCK * taps;
                let end = column.min(start + BLOCK * taps);
                let part = |lane: usize| group.get(lane * column + start..lane * column + end);
                let parts =
                    std::array::from_fn(|lane| part(lane).filter(|_| lane < width).unwrap_or_default());
                interleave(parts, &mut lanes);
                for tap in 0..taps {
                    let blocks =
                        std::array::from_fn(|i| lanes.get(i * taps + tap).copied().unwrap_or_default());
                    self.put(tap * self.layout.tap_blocks() + block, self.filled / GROUP, width, &blocks);
                }
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
                let mut blocks = [f32x4::ZERO; BLOCK];
                for (four, row) in blocks.iter_mut().zip(rows.chunks_exact(n)).take(height) {
                    let mut lanes = [0.0; GROUP];
                    lanes[..width].copy_from_slice(&row[group * GROUP..][..width]);
                    *four = f32x4::new(lanes);
                }
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

/// Puts numbers of the same place side by side; a column that has none counts as zeros.
fn interleave(columns: [&[f32]; GROUP], lanes: &mut Vec<f32x4>) {
    let count = columns[0].len();
    lanes.clear();
    if columns.iter().all(|column| column.len() == count) {
        let [a, b, c, d] = columns.map(|column| column.as_chunks::<GROUP>().0);
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            lanes.extend(f32x4::transpose([*a, *b, *c, *d].map(f32x4::new)));
        }
    }
    let number = |i: usize| columns.map(|column| column.get(i).copied().unwrap_or(0.0));
    lanes.extend((lanes.len()..count).map(|i| f32x4::new(number(i))));
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
