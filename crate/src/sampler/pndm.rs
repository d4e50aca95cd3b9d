//! PNDM without Runge-Kutta warm-up: PLMS (arXiv:2202.09778, equations 9 and 12; diffusers `scheduling_pndm.py`).
//!
//! The second timestep is visited twice: the first step is an improved Euler step, for which the state before the first
//! call is kept. A run that starts at a later step goes the same way from there, as in diffusers, whose scheduler counts
//! calls: its second call improves the first whether or not the two are of one timestep, and the run then lags a step
//! behind its timesteps. Where a config says nothing of `skip_prk_steps`, they are skipped, as Stable Diffusion's configs all
//! say.

use super::combination::Combination;
use super::config::PredictionType;
use super::plan::{ModelCall, Sampler, Slot};
use super::schedule::NoiseSchedule;
use super::settings::Settings;
use super::timesteps;
use crate::error::Result;

/// Former model outputs that the fourth-order formula needs.
const OUTPUTS: usize = 3;
/// Where the first call leaves its sample for the second; no output is there before the fourth call.
const FIRST_SAMPLE: Slot = Slot::History(OUTPUTS - 1);

pub(super) fn plan(settings: &Settings, steps: usize, start: usize) -> Result<Sampler> {
    let schedule = NoiseSchedule::new(settings);
    let train = settings.num_train_timesteps;
    let stride = (train / steps) as i64;
    let final_alpha = schedule.final_alpha(settings.set_alpha_to_one);
    let mut calls = Vec::with_capacity(steps + 1);
    for (i, timestep) in visited(settings, steps).into_iter().skip(start).enumerate() {
        let whole = timestep as i64;
        let (from, to) = if i == 1 { (whole + stride, whole) } else { (whole, whole - stride) };
        let alpha = schedule.alpha_cumprod(from, final_alpha)?;
        let previous = schedule.alpha_cumprod(to, final_alpha)?;
        let start = if i == 1 { FIRST_SAMPLE } else { Slot::Sample };
        let sample = transfer(settings.prediction_type, start, &output(i), alpha, previous);
        let mut updates = vec![sample.into(Slot::Sample)];
        if i != 1 {
            updates.push(Combination::of(Slot::ModelOutput, 1.0).into(output_slot(kept(i))));
        }
        if i == 0 {
            updates.push(Combination::of(Slot::Sample, 1.0).into(FIRST_SAMPLE));
        }
        let alpha_in = schedule.alpha_cumprod(whole, final_alpha)?;
        let sigma = ((1.0 - alpha_in) / alpha_in).sqrt();
        calls.push(ModelCall { timestep, sigma, input_scale: 1.0, updates });
    }
    Ok(Sampler { init_noise_sigma: 1.0, history_slots: OUTPUTS, calls })
}

fn visited(settings: &Settings, steps: usize) -> Vec<f64> {
    let train = settings.num_train_timesteps;
    let spaced = timesteps::spaced(settings.timestep_spacing, train, steps, settings.steps_offset);
    let mut timesteps: Vec<f64> = spaced.into_iter().map(f64::round_ties_even).collect();
    if let Some(&second) = timesteps.get(1) {
        timesteps.insert(1, second);
    }
    timesteps
}

/// How many outputs were kept before call `i`; the second call's is not.
fn kept(i: usize) -> usize {
    if i > 1 { i - 1 } else { i }
}

fn output_slot(index: usize) -> Slot {
    Slot::History(index % OUTPUTS)
}

/// The model output that call `i` steps with: a linear multistep formula over this and former ones.
fn output(i: usize) -> Combination {
    let formula: &[f64] = match i {
        0 => &[1.0],
        1 => &[1.0 / 2.0, 1.0 / 2.0],
        2 => &[3.0 / 2.0, -1.0 / 2.0],
        3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
        _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
    };
    let slots = (1..=kept(i)).map(|age| output_slot(kept(i) - age));
    let terms = std::iter::once(Slot::ModelOutput).chain(slots).zip(formula);
    terms.fold(Combination::of(Slot::ModelOutput, 0.0), |sum, (slot, &weight)| sum.plus(slot, weight))
}

/// Equation 9: from the noise level `alpha` to `previous`, both cumulative.
fn transfer(
    kind: PredictionType,
    start: Slot,
    output: &Combination,
    alpha: f64,
    previous: f64,
) -> Combination {
    let denominator = alpha * (1.0 - previous).sqrt() + (alpha * (1.0 - alpha) * previous).sqrt();
    let factor = -(previous - alpha) / denominator;
    let sample = Combination::of(start, (previous / alpha).sqrt());
    match kind {
        PredictionType::VPrediction => {
            sample.plus_scaled(output, factor * alpha.sqrt()).plus(start, factor * (1.0 - alpha).sqrt())
        }
        PredictionType::Epsilon | PredictionType::Sample => sample.plus_scaled(output, factor),
    }
}
