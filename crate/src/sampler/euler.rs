//! Euler's method over sigmas (arXiv:2206.00364, algorithm 2 without churn; diffusers `scheduling_euler_discrete.py`).

use super::combination::Combination;
use super::config::{InterpolationType, PredictionType, TimestepSpacing};
use super::plan::{ModelCall, Sampler, Slot};
use super::schedule::NoiseSchedule;
use super::settings::Settings;
use super::{sigmas, timesteps};

/// Timesteps and sigmas of a run; one sigma more than timesteps.
pub(super) struct Levels {
    pub(super) timesteps: Vec<f64>,
    pub(super) sigmas: Vec<f64>,
}

pub(super) fn plan(settings: &Settings, steps: usize, start: usize) -> Sampler {
    let levels = levels(settings, steps);
    sampler(settings, &levels, start, |sigma, next| {
        derivative(settings.prediction_type, sigma).scaled(next - sigma).plus(Slot::Sample, 1.0)
    })
}

/// The run over `levels` from step `start` on whose sample after each call is `step(sigma, next sigma)`.
pub(super) fn sampler(
    settings: &Settings,
    levels: &Levels,
    start: usize,
    step: impl Fn(f64, f64) -> Combination,
) -> Sampler {
    let max_sigma = levels.sigmas.iter().copied().fold(0.0, f64::max);
    let init_noise_sigma = match settings.timestep_spacing {
        TimestepSpacing::Linspace | TimestepSpacing::Trailing => max_sigma,
        TimestepSpacing::Leading => max_sigma.hypot(1.0),
    };
    let pairs = levels.sigmas.windows(2).filter_map(|pair| <[f64; 2]>::try_from(pair).ok());
    let calls = levels.timesteps.iter().zip(pairs).skip(start).map(|(&timestep, [sigma, next])| ModelCall {
        timestep,
        sigma,
        input_scale: sigmas::alpha(sigma),
        updates: vec![step(sigma, next).into(Slot::Sample)],
    });
    Sampler { init_noise_sigma, history_slots: 0, calls: calls.collect() }
}

/// `(sample - x0) / sigma`, for a sample that is `x0 + sigma * epsilon`.
pub(super) fn derivative(kind: PredictionType, sigma: f64) -> Combination {
    let pair = |sample, output| Combination::of(Slot::Sample, sample).plus(Slot::ModelOutput, output);
    match kind {
        PredictionType::Epsilon => pair(0.0, 1.0),
        PredictionType::Sample => pair(1.0 / sigma, -1.0 / sigma),
        PredictionType::VPrediction => {
            let alpha = sigmas::alpha(sigma);
            pair(sigma * alpha * alpha, alpha)
        }
    }
}

/// Timesteps of the config's spacing, as float32, and the training sigmas there.
pub(super) fn spaced_levels(settings: &Settings, table: &[f32], steps: usize) -> Levels {
    let train = settings.num_train_timesteps;
    let spaced = timesteps::spaced(settings.timestep_spacing, train, steps, settings.steps_offset);
    let timesteps = sigmas::rounded(spaced);
    let sigmas = timesteps.iter().map(|&timestep| sigmas::interpolate(table, timestep)).collect();
    Levels { timesteps, sigmas }
}

fn levels(settings: &Settings, steps: usize) -> Levels {
    let table = NoiseSchedule::with_finite_sigmas(settings).sigmas();
    let Levels { mut timesteps, sigmas: mut levels } = spaced_levels(settings, &table, steps);
    let ends =
        |levels: &[f64]| (levels.last().copied().unwrap_or(0.0), levels.first().copied().unwrap_or(0.0));
    if settings.interpolation_type == InterpolationType::LogLinear {
        levels = log_linear(&table, steps);
    }
    if settings.use_karras_sigmas {
        let (min, max) = ends(&levels);
        levels = sigmas::karras(settings, min, max, steps);
        timesteps = sigmas::rounded(levels.iter().map(|&sigma| sigmas::to_timestep(&table, sigma)));
    }
    levels.push(sigmas::last(settings, table.first().copied().map_or(0.0, f64::from)));
    Levels { timesteps, sigmas: sigmas::rounded(levels) }
}

/// One sigma more than steps, so that the end given by `final_sigmas_type` is never reached; diffusers does the same.
fn log_linear(table: &[f32], steps: usize) -> Vec<f64> {
    let log = |sigma: Option<&f32>| sigma.map_or(0.0, |sigma| f64::from(sigma.ln()));
    let (high, low) = (log(table.last()), log(table.first()));
    (0..=steps).map(|i| (high + (low - high) * i as f64 / steps as f64).exp()).collect()
}
