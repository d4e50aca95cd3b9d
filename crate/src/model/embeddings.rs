//! Sinusoidal embeddings (diffusers `models/embeddings.py`), on the host.
//!
//! Everything is rounded to f32 where diffusers rounds: at timestep 999 the last bit of a frequency moves a sine by
//! 6e-5. Exponentials are taken in f64 and rounded once, which is what a correctly rounded f32 `exp` would give.

/// `Timesteps`: `[values.len(), channels]`, sines then cosines, or the other way round with `flip_sin_to_cos`; the
/// last channel of an odd number is zero.
#[must_use]
pub fn timesteps(values: &[f64], channels: usize, flip_sin_to_cos: bool, freq_shift: f64) -> Vec<f32> {
    let half = channels / 2;
    let slope = -(10_000_f64.ln());
    let frequency = |i: usize| {
        let exponent = (slope as f32 * i as f32) / (half as f64 - freq_shift) as f32;
        f64::from(exponent).exp() as f32
    };
    rows(values, channels, frequency, flip_sin_to_cos)
}

/// LCM's embedding of a guidance scale `w`, which the caller has reduced by one: `[1, channels]`
/// (diffusers `get_guidance_scale_embedding`).
#[must_use]
pub fn guidance_scale(w: f64, channels: usize) -> Vec<f32> {
    let step = 10_000_f64.ln() as f32 / (channels / 2).saturating_sub(1).max(1) as f32;
    let frequency = |i: usize| f64::from(i as f32 * -step).exp() as f32;
    rows(&[w * 1000.0], channels, frequency, false)
}

fn rows(values: &[f64], channels: usize, frequency: impl Fn(usize) -> f32, cosines_first: bool) -> Vec<f32> {
    let half = channels / 2;
    let mut out = vec![0.0; values.len() * channels];
    for (row, value) in out.chunks_exact_mut(channels).zip(values) {
        for i in 0..half {
            let angle = f64::from(*value as f32 * frequency(i));
            let (sine, cosine) = (angle.sin() as f32, angle.cos() as f32);
            let (first, second) = if cosines_first { (cosine, sine) } else { (sine, cosine) };
            row[i] = first;
            row[half + i] = second;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_and_the_odd_channel() {
        let row = timesteps(&[0.0], 5, true, 0.0);
        assert_eq!(row, [1.0, 1.0, 0.0, 0.0, 0.0]);
        let row = timesteps(&[1.0], 4, false, 0.0);
        assert!((row[0] - 1f32.sin()).abs() < 1e-7 && (row[2] - 1f32.cos()).abs() < 1e-7);
        assert!((row[1] - 0.01f32.sin()).abs() < 1e-7);
    }
}
