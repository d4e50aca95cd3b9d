//! How near two pictures of the same seed are, at every stage.

use std::fmt;

use serde_json::{Value, json};

/// Decibels where nothing differs.
const NO_DIFFERENCE: f64 = 150.0;

/// What a run came to.
pub(super) struct Outcome {
    /// First output of the UNet.
    pub(super) unet: Vec<f32>,
    /// Final latents.
    pub(super) latents: Vec<f32>,
    /// Colours in 0..1.
    pub(super) picture: Vec<f32>,
}

/// A run beside the reference.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Comparison {
    /// PSNR of the final latents in decibels, against the range of the reference's latents.
    latents: f64,
    /// PSNR of the picture in decibels.
    picture: f64,
    /// Mean squared error of the picture.
    pub(super) picture_error: f64,
    /// Cosine between the first outputs of the UNet.
    cosine: f64,
}

impl Comparison {
    pub(super) fn json(&self) -> Value {
        json!({ "latents_db": self.latents, "picture_db": self.picture, "unet_cosine": self.cosine })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:>5.1} dB {:>8.1} dB {:>10.6}", self.latents, self.picture, self.cosine)
    }
}

pub(super) fn compare(reference: &Outcome, found: &Outcome) -> Comparison {
    let limits = |(low, high): (f32, f32), value: &f32| (low.min(*value), high.max(*value));
    let (low, high) = reference.latents.iter().fold((f32::INFINITY, f32::NEG_INFINITY), limits);
    let range = f64::from(high - low).max(f64::MIN_POSITIVE);
    let latents_error = squared_error(&reference.latents, &found.latents) / (range * range);
    let picture_error = squared_error(&reference.picture, &found.picture);
    Comparison {
        latents: decibels(latents_error),
        picture: decibels(picture_error),
        picture_error,
        cosine: cosine(&reference.unet, &found.unet),
    }
}

/// The mean of each number.
pub(super) fn mean(all: &[Comparison]) -> Comparison {
    let mean = |of: fn(&Comparison) -> f64| all.iter().map(of).sum::<f64>() / all.len().max(1) as f64;
    Comparison {
        latents: mean(|it| it.latents),
        picture: mean(|it| it.picture),
        picture_error: mean(|it| it.picture_error),
        cosine: mean(|it| it.cosine),
    }
}

fn decibels(error: f64) -> f64 {
    (-10.0 * error.log10()).min(NO_DIFFERENCE)
}

fn squared_error(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len().max(1) as f64
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(values: &[f32]) -> Outcome {
        Outcome { unet: values.to_vec(), latents: values.to_vec(), picture: values.to_vec() }
    }

    #[test]
    fn numbers_of_known_pairs() {
        let reference = outcome(&[-2.0, 2.0, 0.0, 1.0]);
        let same = compare(&reference, &reference);
        assert_eq!((same.latents, same.picture), (NO_DIFFERENCE, NO_DIFFERENCE));
        assert!((same.cosine - 1.0).abs() < 1e-12);
        let other = compare(&reference, &outcome(&[-2.0, 2.0, 0.2, 1.0]));
        // A squared error of 0.01 on average, in a range of 4.
        assert!((other.picture - 20.0).abs() < 1e-4, "{other:?}");
        assert!((other.latents - (20.0 + 10.0 * 16.0f64.log10())).abs() < 1e-4, "{other:?}");
        assert!((other.cosine - 3.0 / (3.0 * 3.013_333f64.sqrt() * 3.0f64.sqrt()) * 3.0).abs() < 1e-2);
        assert_eq!(mean(&[same, same]), same);
    }
}
