//! From numbers to blocks and back.

use half::f16;

use super::packer::{Packer, load};
use super::{BLOCK, Layout, Quant};

/// A weight in blocks; see the [module](super) for the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Integers.
    pub words: Vec<u32>,
    /// Bits of f16 numbers.
    pub scales: Vec<u16>,
}

/// Packs `values`, `[n, channels, taps]` as files have them. Each scale of Q4 is the one of a few with the least squared
/// error.
#[must_use]
pub fn pack(quant: Quant, layout: Layout, values: &[f32]) -> Packed {
    let mut packer = Packer::new(quant, layout);
    packer.push_columns(values);
    packer.finish()
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
                // A smaller scale clips the extremes, but only where the sum of squares gains by it; a whole step of
                // the least fine format bounds both errors.
                let step = largest / (1 << (quant.bits() - 1)) as f32 * 2.0;
                for (found, expected) in unpack(quant, layout, &packed).iter().zip(&values) {
                    assert!((found - expected).abs() <= step, "{quant:?} {layout:?}: {found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn pieces_and_rows_of_a_table_change_nothing() {
        for (taps, channels, n) in [(1, 70, 41), (1, 33, 7), (9, 40, 10)] {
            let layout = Layout { taps, channels, n };
            let (values, column) = (wave(n * channels * taps), channels * taps);
            for quant in Quant::ALL {
                let whole = pack(quant, layout, &values);
                let mut columns = Packer::new(quant, layout);
                values.chunks(8 * column).for_each(|piece| columns.push_columns(piece));
                assert_eq!(columns.finish(), whole);
                if taps > 1 {
                    continue;
                }
                let table: Vec<f32> = (0..channels)
                    .flat_map(|row| values.iter().skip(row).step_by(channels))
                    .copied()
                    .collect();
                let mut rows = Packer::new(quant, layout);
                table.chunks(32 * n).for_each(|piece| rows.push_rows(piece));
                assert_eq!(rows.finish(), whole);
            }
        }
    }

    #[test]
    fn extreme_numbers_pack() {
        let layout = Layout { taps: 1, channels: 32, n: 1 };
        for (value, tolerance) in [(0.0, 0.0), (1e-9, 1e-9), (1e-3, 1e-5), (60000.0, 600.0)] {
            let mut values = vec![value; 32];
            values[3] = -value;
            let found = unpack(Quant::Q8, layout, &pack(Quant::Q8, layout, &values));
            assert!(found.iter().zip(&values).all(|(a, b)| (a - b).abs() <= tolerance), "{value}: {found:?}");
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
