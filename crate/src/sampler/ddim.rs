//! DDIM with eta 0 (arXiv:2010.02502, equation 12; diffusers `scheduling_ddim.py`).

use super::combination::Prediction;
use super::plan::{ModelCall, Sampler, Slot};
use super::schedule::NoiseSchedule;
use super::settings::Settings;
use super::timesteps;
use crate::error::Result;

pub(super) fn plan(settings: &Settings, steps: usize, start: usize) -> Result<Sampler> {
    let schedule = NoiseSchedule::new(settings);
    let train = settings.num_train_timesteps;
    let final_alpha = schedule.final_alpha(settings.set_alpha_to_one);
    let call = |timestep: f64| {
        let timestep = timestep.round_ties_even();
        let alpha_prod = schedule.alpha_cumprod(timestep as i64, final_alpha)?;
        // Whole strides even where the timesteps are spaced by fractions.
        let previous = schedule.alpha_cumprod(timestep as i64 - (train / steps) as i64, final_alpha)?;
        let predicted =
            Prediction::new(settings.prediction_type, alpha_prod.sqrt(), (1.0 - alpha_prod).sqrt());
        let sample =
            predicted.x0.scaled(previous.sqrt()).plus_scaled(&predicted.epsilon, (1.0 - previous).sqrt());
        Ok(ModelCall {
            timestep,
            sigma: ((1.0 - alpha_prod) / alpha_prod).sqrt(),
            input_scale: 1.0,
            updates: vec![sample.into(Slot::Sample)],
        })
    };
    let timesteps = timesteps::spaced(settings.timestep_spacing, train, steps, settings.steps_offset);
    let calls = timesteps.into_iter().skip(start).map(call).collect::<Result<_>>()?;
    Ok(Sampler { init_noise_sigma: 1.0, history_slots: 0, calls })
}
