//! Euler steps to a lower level than asked for, and fresh noise up to it (diffusers
//! `scheduling_euler_ancestral_discrete.py`, after k-diffusion's `get_ancestral_step` with eta 1).

use super::euler::{Levels, derivative, sampler, spaced_levels};
use super::plan::{Sampler, Slot};
use super::schedule::NoiseSchedule;
use super::settings::Settings;
use super::sigmas;

pub(super) fn plan(settings: &Settings, steps: usize, start: usize) -> Sampler {
    let table = NoiseSchedule::with_finite_sigmas(settings).sigmas();
    let Levels { timesteps, sigmas: mut levels } = spaced_levels(settings, &table, steps);
    levels.push(0.0);
    let levels = Levels { timesteps, sigmas: sigmas::rounded(levels) };
    sampler(settings, &levels, start, |sigma, next| {
        let (down, up) = ancestral_step(sigma, next);
        let derivative = derivative(settings.prediction_type, sigma);
        derivative.scaled(down - sigma).plus(Slot::Sample, 1.0).plus(Slot::Noise, up)
    })
}

/// The level to step to, and the standard deviation of the noise to add there.
fn ancestral_step(sigma: f64, next: f64) -> (f64, f64) {
    let kept = (next / sigma).powi(2);
    (next * kept.sqrt(), next * (1.0 - kept).max(0.0).sqrt())
}
