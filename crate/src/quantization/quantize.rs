//! The scale and the integers that are nearest to a block.
//!
//! Loops here are over arrays of [`BLOCK`] numbers, in forms that the compiler makes vector code of.

use half::f16;
use wide::f32x4;

use super::{BLOCK, Quant};

/// Scales tried for a block of Q4, as parts of the one that lets the extreme have the largest integer. Clipping the
/// extremes pays where integers are few; with more of them, pictures did not gain by it.
const TRIES: [f32; 5] = [1.05, 0.98, 0.91, 0.84, 0.77];

/// Of f16.
const LARGEST: f32 = 65504.0;

/// 1.5 * 2^23: numbers of this size have no fraction.
const ROUNDING: f32 = 12_582_912.0;

/// Least of f16 that is not subnormal.
const NORMAL: f32 = 6.103_515_6e-5;

/// Numbers of this size have the step of f16's subnormals.
const SUBNORMAL_ROUNDING: f32 = 0.75;

/// Least and largest integer.
pub(super) fn range(quant: Quant) -> (i32, i32) {
    let half = 1 << (quant.bits() - 1);
    (-half, half - 1)
}

/// A block as vector units hold it.
type Lanes = [f32x4; BLOCK / 4];

/// The scale, as bits of f16, and integers that are nearest to `block` in squared error.
pub(super) fn quantize(quant: Quant, block: &[f32; BLOCK]) -> (u16, [i32; BLOCK]) {
    let lanes = lanes(block);
    // The range has one more negative integer: the extreme is made negative, so that it is reached.
    let full = extreme(&lanes) / range(quant).0 as f32;
    let mut scale = rounded(full);
    if quant == Quant::Q4 {
        let mut least = attempt(quant, &lanes, scale, |_, _| ());
        for part in TRIES {
            let clipped = rounded(full * part);
            let (mut with_values, mut squares) = (lanes, lanes);
            let clipped_error = attempt(quant, &lanes, clipped, |i, integers| {
                with_values[i] *= integers;
                squares[i] = integers * integers;
            });
            let squares = sum(&squares);
            // The scale with the least squared error for these integers.
            let refined = rounded(if squares == 0.0 { 0.0 } else { sum(&with_values) / squares });
            let refined_error = attempt(quant, &lanes, refined, |_, _| ());
            for (error, candidate) in [(clipped_error, clipped), (refined_error, refined)] {
                if error < least {
                    (least, scale) = (error, candidate);
                }
            }
        }
    }
    let mut integers = [0; BLOCK];
    let inverse = f32x4::splat(inverse(scale));
    for (to, from) in integers.as_chunks_mut().0.iter_mut().zip(&lanes) {
        *to = nearest(quant, *from, inverse).to_array().map(|integer| integer as i32);
    }
    (f16::from_f32(scale).to_bits(), integers)
}

fn lanes(block: &[f32; BLOCK]) -> Lanes {
    let four = |i: usize| [block[4 * i], block[4 * i + 1], block[4 * i + 2], block[4 * i + 3]];
    std::array::from_fn(|i| f32x4::new(four(i)))
}

/// The first of the numbers of largest magnitude.
fn extreme(block: &Lanes) -> f32 {
    let most = fold(block, f32x4::fast_max, f32::max);
    let least = fold(block, f32x4::fast_min, f32::min);
    if most != -least {
        return if most > -least { most } else { least };
    }
    let mut values = block.iter().flat_map(|lanes| lanes.to_array());
    values.find(|value| value.abs() == most).unwrap_or(0.0)
}

/// The nearest number that f16 has; a conversion there and back takes longer than all else here.
fn rounded(scale: f32) -> f32 {
    let scale = scale.clamp(-LARGEST, LARGEST);
    if scale.abs() < NORMAL {
        let magnitude = (scale.abs() + SUBNORMAL_ROUNDING) - SUBNORMAL_ROUNDING;
        return magnitude.copysign(scale);
    }
    let bits = scale.to_bits();
    f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
}

fn inverse(step: f32) -> f32 {
    if step == 0.0 { 0.0 } else { 1.0 / step }
}

/// The nearest integers in range. Adding and taking away a large number rounds.
#[inline(always)]
fn nearest(quant: Quant, values: f32x4, inverse: f32x4) -> f32x4 {
    let (low, high) = range(quant);
    let scaled = values * inverse;
    let clipped = scaled.fast_max(f32x4::splat(low as f32)).fast_min(f32x4::splat(high as f32));
    (clipped + f32x4::splat(ROUNDING)) - f32x4::splat(ROUNDING)
}

/// The squared error of a scale; `look` is shown its integers.
#[inline(always)]
fn attempt(quant: Quant, block: &Lanes, step: f32, mut look: impl FnMut(usize, f32x4)) -> f32 {
    let inverse = f32x4::splat(inverse(step));
    let mut errors = *block;
    for (i, values) in block.iter().enumerate() {
        let integers = nearest(quant, *values, inverse);
        look(i, integers);
        let difference = *values - integers * f32x4::splat(step);
        errors[i] = difference * difference;
    }
    sum(&errors)
}

fn sum(values: &Lanes) -> f32 {
    fold(values, |a, b| a + b, |a, b| a + b)
}

#[inline(always)]
fn fold(values: &Lanes, join: impl Fn(f32x4, f32x4) -> f32x4, join_one: impl Fn(f32, f32) -> f32) -> f32 {
    let four: [f32x4; 4] = std::array::from_fn(|i| join(values[i], values[i + 4]));
    let [a, b, c, d] = join(join(four[0], four[2]), join(four[1], four[3])).to_array();
    join_one(join_one(a, c), join_one(b, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_round_as_f16_does() {
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
        let mut block = [0.5; BLOCK];
        (block[7], block[20]) = (-2.0, 2.0);
        assert_eq!(extreme(&lanes(&block)), -2.0);
        block[20] = 3.0;
        assert_eq!(extreme(&lanes(&block)), 3.0);
        assert_eq!(extreme(&lanes(&[0.0; BLOCK])), 0.0);
    }
}
