//! From numbers to blocks and back.

use half::f16;

use super::{BLOCK, Layout, Quant};

/// Scales tried for a block, as parts of the one that clips nothing.
const SHRINKS: [f32; 5] = [1.0, 0.95, 0.9, 0.85, 0.8];

/// A weight in blocks; see the [module](super) for the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Integers.
    pub words: Vec<u32>,
    /// Bits of f16 numbers.
    pub scales: Vec<u16>,
}

/// Packs `values`, `[n, channels, taps]` as files have them. Each scale is the one of a few with the least squared
/// error.
#[must_use]
pub fn pack(quant: Quant, layout: Layout, values: &[f32]) -> Packed {
    let n4 = layout.n4();
    let mut packed = Packed { words: vec![0; layout.words(quant)], scales: vec![0; layout.scales()] };
    let mut block = [0.0; BLOCK];
    for (column, column_values) in values.chunks_exact((layout.channels * layout.taps).max(1)).enumerate() {
        for at in 0..layout.blocks() {
            gather(layout, column_values, at, &mut block);
            let (scale, integers) = quantize(quant, &block);
            packed.scales[at * n4 * 4 + column] = scale.to_bits();
            let words = &mut packed.words[at * quant.block_words() * n4 + column / 4..];
            store(quant, &integers, words, n4, column % 4);
        }
    }
    packed
}

/// The numbers that `packed` stands for, `[n, channels, taps]`. `packed` must have the lengths of `layout`.
#[must_use]
pub fn unpack(quant: Quant, layout: Layout, packed: &Packed) -> Vec<f32> {
    let n4 = layout.n4();
    let mut values = Vec::with_capacity(layout.n * layout.channels * layout.taps);
    for column in 0..layout.n {
        for channel in 0..layout.channels {
            for tap in 0..layout.taps {
                let at = tap * layout.tap_blocks() + channel / BLOCK;
                let words = &packed.words[at * quant.block_words() * n4 + column / 4..];
                let integer = load(quant, words, n4, column % 4, channel % BLOCK);
                let scale = f16::from_bits(packed.scales[at * n4 * 4 + column]);
                values.push(integer as f32 * scale.to_f32());
            }
        }
    }
    values
}

/// Block `at` of a column `[channels, taps]`.
fn gather(layout: Layout, column: &[f32], at: usize, block: &mut [f32; BLOCK]) {
    let (tap, first) = (at / layout.tap_blocks(), at % layout.tap_blocks() * BLOCK);
    let channels = column.chunks_exact(layout.taps).skip(first).map(|taps| taps[tap]);
    block.fill(0.0);
    block.iter_mut().zip(channels).for_each(|(to, from)| *to = from);
}

/// The scale and integers that are nearest to `block` in squared error.
fn quantize(quant: Quant, block: &[f32; BLOCK]) -> (f16, [i32; BLOCK]) {
    let (low, high) = range(quant);
    let extreme =
        block.iter().fold(0.0_f32, |most, value| if value.abs() > most.abs() { *value } else { most });
    // The range has one more negative integer: the extreme is made negative, so that it is reached.
    let full = extreme / low as f32;
    let tries: &[f32] = if quant == Quant::Q8 { &SHRINKS[..1] } else { &SHRINKS };
    let mut best = (f32::INFINITY, f16::ZERO, [0; BLOCK]);
    for shrink in tries {
        let scale = f16::from_f32(full * shrink);
        let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / scale.to_f32() };
        let integers = block.map(|value| ((value * inverse).round() as i32).clamp(low, high));
        let error = |(value, integer): (&f32, &i32)| (value - *integer as f32 * scale.to_f32()).powi(2);
        let total: f32 = block.iter().zip(&integers).map(error).sum();
        if total < best.0 {
            best = (total, scale, integers);
        }
    }
    (best.1, best.2)
}

fn range(quant: Quant) -> (i32, i32) {
    let half = 1 << (quant.bits() - 1);
    (-half, half - 1)
}

/// Writes a column of a block into words that lie `n4` apart.
fn store(quant: Quant, integers: &[i32; BLOCK], words: &mut [u32], n4: usize, lane: usize) {
    for (row, integer) in integers.iter().enumerate() {
        let biased = (integer - range(quant).0) as u32;
        match quant {
            Quant::Q8 => words[row * n4] |= (*integer as u32 & 0xff) << (8 * lane),
            Quant::Q4 => words[row / 2 * n4] |= biased << nibble(row, lane),
            Quant::Q6 => {
                words[row / 2 * n4] |= (biased & 0xf) << nibble(row, lane);
                words[(HIGH_ROW + row / 4) * n4] |= (biased >> 4) << pair(row, lane);
            }
        }
    }
}

fn load(quant: Quant, words: &[u32], n4: usize, lane: usize, row: usize) -> i32 {
    let low = range(quant).0;
    match quant {
        Quant::Q8 => i32::from((words[row * n4] >> (8 * lane)) as u8 as i8),
        Quant::Q4 => (words[row / 2 * n4] >> nibble(row, lane) & 0xf) as i32 + low,
        Quant::Q6 => {
            let lower = words[row / 2 * n4] >> nibble(row, lane) & 0xf;
            let upper = words[(HIGH_ROW + row / 4) * n4] >> pair(row, lane) & 0x3;
            (lower | upper << 4) as i32 + low
        }
    }
}

/// First word of a Q6 block with upper bits.
const HIGH_ROW: usize = 16;

fn nibble(row: usize, lane: usize) -> usize {
    16 * (row % 2) + 4 * lane
}

fn pair(row: usize, lane: usize) -> usize {
    8 * (row % 4) + 2 * lane
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * i % 97) as f32 / 48.0 - 1.0) * (1.0 + (i / 32 % 5) as f32)).collect()
    }

    #[test]
    fn an_unpacked_weight_is_within_half_a_step() {
        for quant in Quant::ALL {
            for (taps, channels, n) in [(1, 1, 1), (1, 33, 5), (9, 32, 4), (9, 40, 6), (4, 70, 3)] {
                let layout = Layout { taps, channels, n };
                let values = wave(n * channels * taps);
                let packed = pack(quant, layout, &values);
                assert_eq!((packed.words.len(), packed.scales.len()), (layout.words(quant), layout.scales()));
                let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                // A shrunk scale clips at most 0.2 of the range, but only where the sum of squares gains by it; a
                // whole step of the least fine format bounds both errors.
                let step = largest / (1 << (quant.bits() - 1)) as f32 * 2.0;
                for (found, expected) in unpack(quant, layout, &packed).iter().zip(&values) {
                    assert!((found - expected).abs() <= step, "{quant:?} {layout:?}: {found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn more_bits_are_nearer() {
        let layout = Layout { taps: 9, channels: 64, n: 8 };
        let values = wave(8 * 64 * 9);
        let error = |quant| -> f32 {
            let found = unpack(quant, layout, &pack(quant, layout, &values));
            found.iter().zip(&values).map(|(found, value)| (found - value).powi(2)).sum()
        };
        let [q4, q6, q8] = Quant::ALL.map(error);
        assert!(q8 * 8.0 < q6 && q6 * 8.0 < q4, "{q8} {q6} {q4}");
    }

    #[test]
    fn integers_lie_where_the_kernels_read_them() {
        // The extreme -8 (-32, -128) makes the scale 1.
        let layout = Layout { taps: 1, channels: 32, n: 2 };
        let mut values = vec![0.0; 64];
        (values[0], values[1], values[32], values[35]) = (-8.0, 3.0, -8.0, 1.0);
        let q4 = pack(Quant::Q4, layout, &values);
        assert_eq!(q4.words[0] & 0x00ff_00ff, 0x008b_0000);
        assert_eq!(q4.words[1] >> 20 & 0xf, 9);
        (values[0], values[32]) = (-128.0, -128.0);
        let q8 = pack(Quant::Q8, layout, &values);
        assert_eq!((q8.words[0], q8.words[1], q8.words[3]), (0x8080, 0x0003, 0x0100));
        (values[0], values[32]) = (-32.0, -32.0);
        let q6 = pack(Quant::Q6, layout, &values);
        assert_eq!((q6.words[0] >> 16 & 0xf, q6.words[16] >> 8 & 0x3), (3, 2));
        assert_eq!(q6.scales[..2], [f16::ONE.to_bits(); 2]);
    }
}
