//! Weights into blocks, a few columns or rows at a time.

use super::quantize::{quantize, range};
use super::{BLOCK, Layout, Packed, Quant};

/// Columns that share words.
pub const GROUP: usize = 4;

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
                let blocks = std::array::from_fn(|lane| {
                    let start = if lane < width { lane * column + first * self.layout.taps + tap } else { 0 };
                    gather(group.get(start..).unwrap_or_default(), self.layout.taps, rows)
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
                let blocks = std::array::from_fn(|lane| {
                    let start = group * GROUP + if lane < width { lane } else { 0 };
                    gather(rows.get(start..).unwrap_or_default(), n, height)
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
    fn put(&mut self, at: usize, group: usize, width: usize, blocks: &[[f32; BLOCK]; GROUP]) {
        if width == 0 {
            return;
        }
        let mut words = [0; MOST_WORDS];
        let scales = at * self.layout.n4() * GROUP + group * GROUP;
        for (lane, block) in blocks.iter().enumerate().take(width) {
            let (scale, integers) = quantize(self.quant, block);
            self.packed.scales[scales + lane] = scale;
            store(self.quant, &integers, &mut words, lane);
        }
        let (count, n4) = (self.quant.block_words(), self.layout.n4());
        let places = self.packed.words[at * count * n4 + group..].iter_mut().step_by(n4);
        places.zip(&words[..count]).for_each(|(place, word)| *place = *word);
    }
}

/// The numbers of `values` that lie `stride` apart, filled with zeros from number `count` on.
fn gather(values: &[f32], stride: usize, count: usize) -> [f32; BLOCK] {
    let mut block = [0.0; BLOCK];
    if stride == 1
        && count == BLOCK
        && let Some(values) = values.first_chunk()
    {
        return *values;
    }
    block.iter_mut().take(count).zip(values.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
    block
}

/// Adds a column to the words of a block.
fn store(quant: Quant, integers: &[i32; BLOCK], words: &mut [u32; MOST_WORDS], lane: usize) {
    let low = range(quant).0;
    match quant {
        Quant::Q8 => {
            for (word, integer) in words.iter_mut().zip(integers) {
                *word |= (*integer as u32 & 0xff) << (8 * lane);
            }
        }
        Quant::Q4 => {
            for (word, [even, odd]) in words.iter_mut().zip(integers.as_chunks().0) {
                *word |= ((even - low) as u32 | ((odd - low) as u32) << 16) << (4 * lane);
            }
        }
        Quant::Q6 => {
            let (lower, upper) = words.split_at_mut(HIGH_ROW);
            for (word, [even, odd]) in lower.iter_mut().zip(integers.as_chunks().0) {
                *word |= ((even - low) as u32 & 0xf | ((odd - low) as u32 & 0xf) << 16) << (4 * lane);
            }
            for (word, four) in upper.iter_mut().zip(integers.as_chunks::<4>().0) {
                for (row, integer) in four.iter().enumerate() {
                    *word |= ((integer - low) as u32 >> 4) << (8 * row + 2 * lane);
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
