//! Elementary functions on the CPU, without branches and calls, so that loops over slices become vector instructions,
//! which WebAssembly's standard library has none of.

use super::Activation;

/// `e^x` within 2 units in the last place from -87 to 88, and the end's value beyond it. Reduction to half a `ln 2` with
/// the constant in two parts (Cody and Waite), and the polynomial of Cephes' `expf` (Moshier).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Comparisons, not `clamp`, keep a NaN and are one instruction each.
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    // Adding 1.5 * 2^23 rounds to an integer, which is then in the number's low bits.
    let shifted = x * std::f32::consts::LOG2_E + 12_582_912.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    let n = shifted - 12_582_912.0;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    (p * r * r + r + 1.0) * power
}

/// Error function, absolute error below 2.5e-7: up to 1 the polynomial of Cephes' `erff` (Moshier), above it Abramowitz
/// and Stegun 7.1.26, whose cancellation near 0 would be larger than its own error.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let (a, square) = (x.abs(), x * x);
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let p = 1.061_405_4 * t - 1.453_152_1;
    let p = p * t + 1.421_413_8;
    let p = p * t - 0.284_496_74;
    let p = p * t + 0.254_829_6;
    let large = 1.0 - p * t * exp(-square);
    let p = 7.853_861e-5 * square - 8.010_194e-4;
    let p = p * square + 5.188_327_6e-3;
    let p = p * square - 2.685_381_2e-2;
    let p = p * square + 1.128_358_5e-1;
    let p = p * square - 3.761_262_6e-1;
    let p = p * square + std::f32::consts::FRAC_2_SQRT_PI;
    if a < 1.0 { p * x } else { large.copysign(x) }
}

/// GELU by the error function, not its approximation by `tanh`.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

impl Activation {
    /// Replaces every number by its activation.
    pub(super) fn apply(self, values: &mut [f32]) {
        match self {
            // A row's, not a number's: whoever allows it computes it.
            Self::None | Self::Geglu => {}
            Self::Silu => values.iter_mut().for_each(|x| *x /= 1.0 + exp(-*x)),
            Self::Gelu => values.iter_mut().for_each(|x| *x = gelu(*x)),
            Self::QuickGelu => values.iter_mut().for_each(|x| *x /= 1.0 + exp(-1.702 * *x)),
            Self::Relu => values.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
        }
    }
}

/// Numbers that a loop over a slice has in hand at one time.
const LANES: usize = 8;

/// Replaces scores by `e^(scale * (score - largest))` and returns their sum: a softmax that is yet to be divided.
pub(super) fn softmax(scores: &mut [f32], scale: f32) -> f32 {
    let larger = |a, b| if a > b { a } else { b };
    let largest = scale * fold(scores, f32::NEG_INFINITY, larger, larger);
    scores.iter_mut().for_each(|score| *score = exp(*score * scale - largest));
    sum(scores, |value| value)
}

/// The sum of `term` of every number.
#[inline(always)]
pub(super) fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    fold(values, 0.0, |found, value| found + term(value), |a, b| a + b)
}

/// Numbers into one, in an order that vector instructions can keep: `step` takes one in, `join` combines what lanes found.
#[inline(always)]
fn fold(values: &[f32], start: f32, step: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let (groups, rest) = values.as_chunks::<LANES>();
    let mut found = [start; LANES];
    for group in groups {
        found = std::array::from_fn(|lane| step(found[lane], group[lane]));
    }
    let rest = rest.iter().fold(start, |found, value| step(found, *value));
    found.into_iter().fold(rest, join)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let expected = f64::from(x).exp();
            let unit = f64::from((expected as f32).next_up()) - f64::from(expected as f32);
            assert!(
                (f64::from(exp(x)) - expected).abs() <= 2.0 * unit,
                "e^{x} is {expected}, not {}",
                exp(x)
            );
        }
        assert!(exp(-1e30) < 1e-37 && exp(1e30) > 1e38 && exp(1e30).is_finite() && exp(f32::NAN).is_nan());
    }

    #[test]
    fn erf_is_the_error_function() {
        for i in -60_000..60_000 {
            let x = i as f32 * 1e-4;
            let expected = libm::erf(f64::from(x));
            assert!((f64::from(erf(x)) - expected).abs() < 2.5e-7, "erf {x} is {expected}, not {}", erf(x));
        }
    }
}
