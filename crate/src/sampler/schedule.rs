//! The training noise schedule.
//!
//! Tables are rounded to `f32` wherever diffusers keeps them as float32 tensors: a whole step of rounding in a table is
//! then no difference between its pictures and ours. What is computed from them is `f64`.

use super::config::BetaSchedule;
use super::settings::Settings;
use crate::error::{Error, Result};

/// Cosine schedules cap their betas here (arXiv:2102.09672, section 3.2).
const MAX_COSINE_BETA: f64 = 0.999;
/// In place of 0, so that the first sigma stays finite; diffusers' value.
const TINY_ALPHA_CUMPROD: f32 = 1.0 / 16_777_216.0;

/// Cumulative products of `1 - beta`, one per training timestep.
pub(super) struct NoiseSchedule {
    alphas_cumprod: Vec<f32>,
}

impl NoiseSchedule {
    /// The schedule as samplers over alphas use it; zero terminal SNR leaves a 0 at its end.
    pub(super) fn new(settings: &Settings) -> Self {
        let mut betas = betas(settings);
        if settings.rescale_betas_zero_snr {
            rescale_zero_terminal_snr(&mut betas);
        }
        Self { alphas_cumprod: cumulative_alphas(&betas) }
    }

    /// The schedule as samplers over sigmas use it.
    pub(super) fn with_finite_sigmas(settings: &Settings) -> Self {
        let mut schedule = Self::new(settings);
        if let Some(last) = schedule.alphas_cumprod.last_mut().filter(|_| settings.rescale_betas_zero_snr) {
            *last = TINY_ALPHA_CUMPROD;
        }
        schedule
    }

    /// `alphas_cumprod[timestep]`; `final_alpha` below 0, where diffusers says `final_alpha_cumprod`.
    pub(super) fn alpha_cumprod(&self, timestep: i64, final_alpha: f64) -> Result<f64> {
        let Ok(index) = usize::try_from(timestep) else { return Ok(final_alpha) };
        self.alphas_cumprod.get(index).copied().map(f64::from).ok_or_else(|| Error::Parameter {
            name: "steps".into(),
            reason: format!(
                "asks for timestep {index}, past the {} of the training",
                self.alphas_cumprod.len()
            ),
        })
    }

    /// `final_alpha_cumprod`.
    pub(super) fn final_alpha(&self, set_alpha_to_one: bool) -> f64 {
        if set_alpha_to_one { 1.0 } else { self.alphas_cumprod.first().copied().map_or(1.0, f64::from) }
    }

    /// `sqrt((1 - alpha) / alpha)` of every training timestep, ascending.
    pub(super) fn sigmas(&self) -> Vec<f32> {
        self.alphas_cumprod.iter().map(|alpha| ((1.0 - alpha) / alpha).sqrt()).collect()
    }
}

fn betas(settings: &Settings) -> Vec<f32> {
    let n = settings.num_train_timesteps;
    if let Some(betas) = &settings.trained_betas {
        return betas.iter().map(|&beta| beta as f32).collect();
    }
    let (start, end) = (settings.beta_start, settings.beta_end);
    match settings.beta_schedule {
        BetaSchedule::Linear => linspace_f32(start, end, n),
        BetaSchedule::ScaledLinear => {
            linspace_f32(start.sqrt(), end.sqrt(), n).into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredCosCapV2 => {
            let alpha_bar = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
            let beta = |i: usize| 1.0 - alpha_bar((i + 1) as f64 / n as f64) / alpha_bar(i as f64 / n as f64);
            (0..n).map(|i| beta(i).min(MAX_COSINE_BETA) as f32).collect()
        }
    }
}

/// `torch.linspace` in float32, which counts from both ends and multiplies and adds at once.
fn linspace_f32(start: f64, end: f64, n: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    let step = if n > 1 { (end - start) / (n - 1) as f32 } else { 0.0 };
    let at = |i: usize| {
        if i < n / 2 { step.mul_add(i as f32, start) } else { (-step).mul_add((n - 1 - i) as f32, end) }
    };
    if n == 1 { vec![start] } else { (0..n).map(at).collect() }
}

/// `torch.cumprod` of `1 - beta` in float32, which accumulates in double precision.
fn cumulative_alphas(betas: &[f32]) -> Vec<f32> {
    let accumulate = |product: &mut f64, beta: &f32| {
        *product *= f64::from(1.0 - beta);
        Some(*product as f32)
    };
    betas.iter().scan(1.0, accumulate).collect()
}

/// Shifts and scales the square roots of the cumulative alphas, so that the last is 0 and the first stays
/// (arXiv:2305.08891, algorithm 1).
fn rescale_zero_terminal_snr(betas: &mut [f32]) {
    let mut roots: Vec<f32> = cumulative_alphas(betas).into_iter().map(f32::sqrt).collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else { return };
    let scale = first / (first - last);
    for root in &mut roots {
        *root = (*root - last) * scale;
    }
    let mut previous = 1.0;
    for (beta, root) in betas.iter_mut().zip(roots) {
        let alpha_bar = root * root;
        *beta = 1.0 - alpha_bar / previous;
        previous = alpha_bar;
    }
}
