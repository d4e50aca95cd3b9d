//! The scales and the integers that are nearest to blocks, four blocks at a time.
//!
//! The four numbers of a vector are of four blocks, so that what is done once a block costs no more than what is done
//! once a number.

use half::f16;
use wide::f32x4;

use super::{BLOCK, GROUP, Quant};

/// Scales tried for a block of Q4, as parts of the one that lets the extreme have the largest integer. Clipping the
/// extremes pays where integers are few; with more of them, pictures did not gain by it.
const TRIES: [f32; 6] = [1.05, 1.0, 0.98, 0.91, 0.84, 0.77];

/// Of f16.
const LARGEST: f32 = 65504.0;

/// 1.5 * 2^23: numbers of this size have no fraction.
const ROUNDING: f32 = 12_582_912.0;

/// 1.5 * 2^13: numbers that are so much larger have the step that f16 has.
const F16_ROUNDING: f32 = 12_288.0;

/// Numbers of this size have the step of f16's subnormals.
const SUBNORMAL_ROUNDING: f32 = 0.75;

/// The bits of a power of two.
const EXPONENT: f32 = f32::INFINITY;

/// Sums that do not wait for each other.
const SUMS: usize = 4;

/// Least and largest integer.
pub(super) fn range(quant: Quant) -> (i32, i32) {
    let half = 1 << (quant.bits() - 1);
    (-half, half - 1)
}

/// Four blocks: the first numbers of all, then the second ones.
pub(super) type Blocks = [f32x4; BLOCK];

/// The scales, as bits of f16, and the integers that are nearest to the blocks in squared error.
pub(super) fn quantize(quant: Quant, blocks: &Blocks) -> ([u16; GROUP], [[i32; GROUP]; BLOCK]) {
    // The range has one more negative integer: the extreme is made negative, so that it is reached.
    let full = extremes(blocks) / f32x4::splat(range(quant).0 as f32);
    let scales = if quant == Quant::Q4 { searched(quant, blocks, full) } else { rounded(full) };
    let inverses = inverse(scales);
    let integers = std::array::from_fn(|i| {
        let bits = shifted(quant, blocks[i], inverses).to_array().map(f32::to_bits);
        bits.map(|bits| bits.wrapping_sub(ROUNDING.to_bits()) as i32)
    });
    (scales.to_array().map(|scale| f16::from_f32(scale).to_bits()), integers)
}

/// The best scales that a few near `full` lead to. Of each, only the sums are made that say how far the scale with the
/// least error for its integers brings the error down; the best one is then fitted once more, to the integers that it has
/// itself.
fn searched(quant: Quant, blocks: &Blocks, full: f32x4) -> f32x4 {
    let (mut most, mut scales) = (f32x4::ZERO, f32x4::ZERO);
    for part in TRIES {
        let fit = Fit::of(quant, blocks, rounded(full * f32x4::splat(part)));
        let candidates = fit.scales();
        let gains = fit.gains(candidates);
        let better = gains.simd_gt(most);
        (most, scales) = (better.bitselect(gains, most), better.bitselect(candidates, scales));
    }
    let again = Fit::of(quant, blocks, scales);
    let candidates = again.scales();
    again.gains(candidates).simd_gt(again.gains(scales)).bitselect(candidates, scales)
}

/// What blocks and their integers at some scales have to do with each other.
struct Fit {
    /// Sums of numbers times integers.
    products: f32x4,
    /// Sums of the integers' squares.
    squares: f32x4,
}

impl Fit {
    #[inline(always)]
    fn of(quant: Quant, blocks: &Blocks, scales: f32x4) -> Self {
        let inverses = inverse(scales);
        let (mut products, mut squares) = ([f32x4::ZERO; SUMS], [f32x4::ZERO; SUMS]);
        for some in blocks.as_chunks::<SUMS>().0 {
            for ((values, product), square) in some.iter().zip(&mut products).zip(&mut squares) {
                let integers = shifted(quant, *values, inverses) - f32x4::splat(ROUNDING);
                *product += *values * integers;
                *square += integers * integers;
            }
        }
        Self { products: sum(products), squares: sum(squares) }
    }

    /// With the least squared error for these integers.
    fn scales(&self) -> f32x4 {
        let none = self.squares.simd_eq(f32x4::ZERO);
        rounded(none.bitselect(f32x4::ZERO, self.products / self.squares))
    }

    /// How much less than the sum of the numbers' squares the squared error of these integers is at some scales.
    fn gains(&self, scales: f32x4) -> f32x4 {
        scales * (self.products + self.products - scales * self.squares)
    }
}

fn sum([a, b, c, d]: [f32x4; SUMS]) -> f32x4 {
    (a + b) + (c + d)
}

/// The first of the numbers of largest magnitude of each block.
fn extremes(blocks: &Blocks) -> f32x4 {
    let most = blocks.iter().fold(blocks[0], |most, values| most.fast_max(*values)).to_array();
    let least = blocks.iter().fold(blocks[0], |least, values| least.fast_min(*values)).to_array();
    f32x4::new(std::array::from_fn(|lane| {
        let (most, least) = (most[lane], least[lane]);
        if most != -least {
            return if most > -least { most } else { least };
        }
        let mut values = blocks.iter().map(|values| values.to_array()[lane]);
        values.find(|value| value.abs() == most).unwrap_or(0.0)
    }))
}

/// The nearest numbers that f16 has; a conversion there and back takes longer than all else here.
fn rounded(scales: f32x4) -> f32x4 {
    let scales = scales.fast_max(f32x4::splat(-LARGEST)).fast_min(f32x4::splat(LARGEST));
    let sizes = scales & f32x4::splat(EXPONENT);
    let large = (sizes * f32x4::splat(F16_ROUNDING)).fast_max(f32x4::splat(SUBNORMAL_ROUNDING));
    ((scales + large) - large) | (scales & f32x4::splat(-0.0))
}

fn inverse(scales: f32x4) -> f32x4 {
    scales.simd_eq(f32x4::ZERO).bitselect(f32x4::ZERO, f32x4::ONE / scales)
}

/// The nearest integers in range, and [`ROUNDING`], the addition of which rounds.
#[inline(always)]
fn shifted(quant: Quant, values: f32x4, inverses: f32x4) -> f32x4 {
    let (low, high) = range(quant);
    let scaled = values * inverses;
    scaled.fast_max(f32x4::splat(low as f32)).fast_min(f32x4::splat(high as f32)) + f32x4::splat(ROUNDING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_round_as_f16_does() {
        let rounded = |scale| rounded(f32x4::splat(scale)).to_array()[0];
        // Every number of f16 with what lies between it and the next one.
        for bits in (0..=0x7bff).chain(0x8000..=0xfbff) {
            let exact = f16::from_bits(bits).to_f32();
            assert_eq!(rounded(exact).to_bits(), exact.to_bits(), "{bits:#x}");
            let next = f16::from_bits(if bits & 0x7fff == 0x7bff { bits } else { bits + 1 }).to_f32();
            for part in [0.25_f32, 0.499, 0.5, 0.501, 0.75] {
                let between = exact + (next - exact) * part;
                let expected = f16::from_f32(between).to_f32();
                assert_eq!(rounded(between).to_bits(), expected.to_bits(), "{between:e}");
            }
        }
        assert_eq!([rounded(1e9), rounded(-1e9)], [LARGEST, -LARGEST]);
    }

    #[test]
    fn the_first_extreme_counts() {
        let mut blocks = [f32x4::splat(0.5); BLOCK];
        (blocks[7], blocks[20]) = (f32x4::new([-2.0, -2.0, 2.0, 0.5]), f32x4::new([2.0, 3.0, -2.0, -0.25]));
        assert_eq!(extremes(&blocks).to_array(), [-2.0, 3.0, 2.0, 0.5]);
        assert_eq!(extremes(&[f32x4::ZERO; BLOCK]).to_array(), [0.0; GROUP]);
    }

    #[test]
    fn a_block_does_not_mind_its_neighbours() {
        let value = |block: usize, i: usize| ((i * i * (block + 3) % 41) as f32 - 20.0) * 0.01;
        let together = std::array::from_fn(|i| f32x4::new(std::array::from_fn(|block| value(block, i))));
        for quant in Quant::ALL {
            let (scales, integers) = quantize(quant, &together);
            for block in 0..GROUP {
                let alone = std::array::from_fn(|i| f32x4::splat(value(block, i)));
                let (scale, alone) = quantize(quant, &alone);
                assert_eq!(scales[block], scale[0]);
                assert!(integers.iter().zip(&alone).all(|(four, one)| four[block] == one[0]));
            }
        }
    }
}
