//! Noise levels of the samplers that work over sigmas.

use super::config::FinalSigmasType;
use super::settings::Settings;

/// Exponent of the Karras schedule (arXiv:2206.00364, table 1).
const RHO: f64 = 7.0;

/// Sigma of a timestep that may lie between two training timesteps; clamped to the ends (`numpy.interp`).
pub(super) fn interpolate(table: &[f32], timestep: f64) -> f64 {
    let last = table.len().saturating_sub(1);
    let at = |i: usize| table.get(i.min(last)).copied().map_or(0.0, f64::from);
    let below = timestep.floor().clamp(0.0, last as f64);
    let i = below as usize;
    at(i) + (at(i + 1) - at(i)) * (timestep - below).clamp(0.0, 1.0)
}

/// `steps` sigmas from `max` down to `min` (arXiv:2206.00364, equation 5); the config's own bounds go first.
pub(super) fn karras(settings: &Settings, min: f64, max: f64, steps: usize) -> Vec<f64> {
    let low = settings.sigma_min.unwrap_or(min).powf(1.0 / RHO);
    let high = settings.sigma_max.unwrap_or(max).powf(1.0 / RHO);
    let ramp = |i: usize| i as f64 / (steps.max(2) - 1) as f64;
    (0..steps).map(|i| (high + ramp(i) * (low - high)).powf(RHO)).collect()
}

/// The timestep whose sigma is nearest in logarithm, as a fraction between its neighbours.
pub(super) fn to_timestep(table: &[f32], sigma: f64) -> f64 {
    let log = |i: usize| table.get(i).map_or(0.0, |sigma| f64::from(sigma.ln()));
    let log_sigma = sigma.max(1e-10).ln();
    let below = (0..table.len()).rev().find(|&i| log_sigma >= log(i)).unwrap_or(0);
    let low = below.min(table.len().saturating_sub(2));
    let weight = ((log(low) - log_sigma) / (log(low) - log(low + 1))).clamp(0.0, 1.0);
    (1.0 - weight) * low as f64 + weight * (low + 1) as f64
}

/// The sigma at the end of a run.
pub(super) fn last(settings: &Settings, lowest: f64) -> f64 {
    match settings.final_sigmas_type {
        FinalSigmasType::Zero => 0.0,
        FinalSigmasType::SigmaMin => lowest,
    }
}

/// Rounds as diffusers does when it makes a float32 tensor of its sigmas.
pub(super) fn rounded(sigmas: impl IntoIterator<Item = f64>) -> Vec<f64> {
    sigmas.into_iter().map(|sigma| f64::from(sigma as f32)).collect()
}

/// `1 / sqrt(sigma^2 + 1)`: the factor of the clean sample when the variance is kept at 1.
pub(super) fn alpha(sigma: f64) -> f64 {
    1.0 / sigma.mul_add(sigma, 1.0).sqrt()
}
