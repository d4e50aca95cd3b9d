//! Multistep consistency sampling (arXiv:2310.04378, algorithm 3; diffusers `scheduling_lcm.py`).
//!
//! The last call leaves the denoised sample itself, which is what diffusers decodes.

use super::combination::Prediction;
use super::plan::{ModelCall, Sampler, Slot};
use super::schedule::NoiseSchedule;
use super::settings::{Settings, check_steps};
use crate::error::{Error, Result};

/// Standard deviation of the data that the boundary condition assumes.
const SIGMA_DATA: f64 = 0.5;

/// `share` of the distillation timesteps are in use, the lowest ones (`strength` of `LCMScheduler.set_timesteps`).
pub(super) fn plan(settings: &Settings, steps: usize, start: usize, share: f64) -> Result<Sampler> {
    let original = settings.original_inference_steps.min(settings.num_train_timesteps);
    check_steps(steps, original, "original_inference_steps")?;
    let in_use = (original as f64 * share) as usize;
    if steps > in_use {
        let reason = format!("leaves {in_use} timesteps for {steps} steps: raise it, or lower the steps");
        return Err(Error::Parameter { name: "strength".into(), reason });
    }
    let schedule = NoiseSchedule::new(settings);
    let timesteps = timesteps(settings.num_train_timesteps / original, in_use, steps);
    let final_alpha = schedule.final_alpha(settings.set_alpha_to_one);
    let mut calls = Vec::with_capacity(steps);
    for (i, &timestep) in timesteps.iter().enumerate().skip(start) {
        let alpha_prod = schedule.alpha_cumprod(timestep, final_alpha)?;
        let x0 = Prediction::new(settings.prediction_type, alpha_prod.sqrt(), (1.0 - alpha_prod).sqrt()).x0;
        let (skip, out) = boundary_scalings(timestep as f64 * settings.timestep_scaling);
        let denoised = x0.scaled(out).plus(Slot::Sample, skip);
        let sample = match timesteps.get(i + 1) {
            Some(&next) => {
                let alpha_next = schedule.alpha_cumprod(next, final_alpha)?;
                denoised.scaled(alpha_next.sqrt()).plus(Slot::Noise, (1.0 - alpha_next).sqrt())
            }
            None => denoised,
        };
        calls.push(ModelCall {
            timestep: timestep as f64,
            sigma: ((1.0 - alpha_prod) / alpha_prod).sqrt(),
            input_scale: 1.0,
            updates: vec![sample.into(Slot::Sample)],
        });
    }
    Ok(Sampler { init_noise_sigma: 1.0, history_slots: 0, calls })
}

/// `steps` of the `in_use` distillation timesteps `stride * k - 1`, evenly by index, highest first.
fn timesteps(stride: usize, in_use: usize, steps: usize) -> Vec<i64> {
    let index = |i: usize| (i as f64 * (in_use as f64 / steps as f64)).floor() as usize;
    (0..steps).map(|i| (stride * in_use.saturating_sub(index(i))) as i64 - 1).collect()
}

/// `c_skip` and `c_out` of the consistency function (arXiv:2303.01469, appendix C).
fn boundary_scalings(scaled_timestep: f64) -> (f64, f64) {
    let sum = scaled_timestep.powi(2) + SIGMA_DATA.powi(2);
    (SIGMA_DATA.powi(2) / sum, scaled_timestep / sum.sqrt())
}
