//! Multistep DPM-Solver++ (arXiv:2211.01095, algorithm 2; diffusers `scheduling_dpmsolver_multistep.py`), over the
//! training sigmas or Karras's. The config may ask for first or third order.
//!
//! In the notation of the paper `h` is the step in `lambda = -ln(sigma)`, so `exp(-h)` is a ratio of two sigmas.

use super::combination::{Combination, Prediction};
use super::config::{BetaSchedule, FinalSigmasType, SolverType};
use super::plan::{ModelCall, Sampler, Slot};
use super::schedule::NoiseSchedule;
use super::settings::Settings;
use super::{sigmas, timesteps};

/// Runs of at least this many steps are of full order to the end.
const LONG_RUN: usize = 15;

pub(super) fn plan(settings: &Settings, steps: usize, start: usize) -> Sampler {
    let (timesteps, levels) = levels(settings, steps);
    let history_slots = settings.solver_order - 1;
    let count = timesteps.len();
    let call = |(i, timestep): (usize, f64)| {
        let sigma = levels[i];
        let alpha = sigmas::alpha(sigma);
        let x0 = Prediction::new(settings.prediction_type, alpha, sigma * alpha).x0;
        let order = order(settings, i, count).min(i - start + 1);
        let sample = step(settings, &levels, i, order, &x0);
        let mut updates = vec![sample.into(Slot::Sample)];
        if history_slots > 0 && i + 1 < count {
            updates.push(x0.into(Slot::History(i % history_slots)));
        }
        ModelCall { timestep, sigma, input_scale: 1.0, updates }
    };
    let calls = timesteps.into_iter().enumerate().skip(start).map(call).collect();
    Sampler { init_noise_sigma: 1.0, history_slots, calls }
}

fn levels(settings: &Settings, steps: usize) -> (Vec<f64>, Vec<f64>) {
    let table = NoiseSchedule::with_finite_sigmas(settings).sigmas();
    let train = settings.num_train_timesteps;
    let ends = |sigma: Option<&f32>| sigma.copied().map_or(0.0, f64::from);
    let (min, max) = (ends(table.first()), ends(table.last()));
    let (timesteps, mut levels): (Vec<f64>, Vec<f64>) = if settings.use_karras_sigmas {
        let levels = sigmas::karras(settings, min, max, steps);
        let whole = |sigma: &f64| {
            let timestep = sigmas::to_timestep(&table, *sigma);
            let cosine = settings.beta_schedule == BetaSchedule::SquaredCosCapV2;
            if cosine { timestep.trunc() } else { timestep.round_ties_even() }
        };
        (levels.iter().map(whole).collect(), levels)
    } else {
        let in_use = train
            - table
                .iter()
                .rev()
                .take_while(|sigma| -f64::from(sigma.ln()) < settings.lambda_min_clipped)
                .count();
        let (spacing, offset) = (settings.timestep_spacing, settings.steps_offset);
        let timesteps = timesteps::spaced_to_end(spacing, in_use, train, steps, offset);
        let levels = timesteps.iter().map(|&timestep| sigmas::interpolate(&table, timestep)).collect();
        (timesteps, levels)
    };
    levels.push(sigmas::last(settings, min));
    (timesteps, sigmas::rounded(levels))
}

/// Highest order of step `i` of `count`: it shrinks over the last ones for stability.
fn order(settings: &Settings, i: usize, count: usize) -> usize {
    let short = settings.lower_order_final && count < LONG_RUN;
    let first_at_end =
        settings.euler_at_final || short || settings.final_sigmas_type == FinalSigmasType::Zero;
    let limit = match count - i {
        1 if first_at_end => 1,
        2 if short => 2,
        _ => settings.solver_order,
    };
    limit.min(settings.solver_order)
}

/// The sample at `levels[i + 1]`: a Taylor polynomial of the clean sample in lambda, integrated over the step.
fn step(settings: &Settings, levels: &[f64], i: usize, order: usize, x0: &Combination) -> Combination {
    let (sigma, next) = (levels[i], levels[i + 1]);
    let alpha_next = sigmas::alpha(next);
    let (ratio, h) = (next / sigma, (sigma / next).ln());
    // alpha * (exp(-h) - 1), and the same of the second and third order in h.
    let first = alpha_next * (ratio - 1.0);
    let second = alpha_next * ((ratio - 1.0) / h + 1.0);
    let third = alpha_next * ((ratio - 1.0 + h) / (h * h) - 0.5);
    let sample_factor = ratio * alpha_next / sigmas::alpha(sigma);
    let start = Combination::of(Slot::Sample, sample_factor).plus_scaled(x0, -first);
    if order == 1 {
        return start;
    }
    let former = |age: usize| Slot::History((i - age) % (settings.solver_order - 1));
    let r0 = (levels[i - 1] / sigma).ln() / h;
    let difference = x0.clone().plus(former(1), -1.0).scaled(1.0 / r0);
    if order == 2 {
        let heun = settings.solver_type == Some(SolverType::Heun);
        return start.plus_scaled(&difference, if heun { second } else { -0.5 * first });
    }
    let r1 = (levels[i - 2] / levels[i - 1]).ln() / h;
    let older = Combination::of(former(1), 1.0 / r1).plus(former(2), -1.0 / r1);
    let curvature = difference.clone().plus_scaled(&older, -1.0);
    let slope = difference.plus_scaled(&curvature, r0 / (r0 + r1));
    start.plus_scaled(&slope, second).plus_scaled(&curvature, -third / (r0 + r1))
}
