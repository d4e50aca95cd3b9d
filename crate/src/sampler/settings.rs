//! Which algorithm runs, and with which values: the config's where it has them, the algorithm's defaults elsewhere.
//!
//! Follows diffusers' `from_config`: a scheduler made from another scheduler's config keeps the fields that it knows.

use super::SamplerKind;
use super::config::{
    BetaSchedule, FinalSigmasType, InterpolationType, PredictionType, SchedulerConfig, SolverType,
    TimestepSpacing, config_error, unsupported_class,
};
use crate::error::{Error, Result};

/// Schedulers that Easel runs when the user names none.
const OWN_CLASSES: [(&str, SamplerKind); 7] = [
    ("DDIMScheduler", SamplerKind::Ddim),
    ("PNDMScheduler", SamplerKind::Pndm),
    ("EulerDiscreteScheduler", SamplerKind::Euler),
    ("EulerAncestralDiscreteScheduler", SamplerKind::EulerAncestral),
    ("DPMSolverMultistepScheduler", SamplerKind::DpmPp2M),
    ("UniPCMultistepScheduler", SamplerKind::UniPc),
    ("LCMScheduler", SamplerKind::Lcm),
];

/// Schedulers over the same noise schedule, whose configs serve a sampler that the user names.
const COMPATIBLE_CLASSES: [&str; 10] = [
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "HeunDiscreteScheduler",
    "IPNDMScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "TCDScheduler",
];

/// A config with every gap filled for one algorithm.
pub(super) struct Settings {
    pub(super) kind: SamplerKind,
    pub(super) num_train_timesteps: usize,
    pub(super) beta_start: f64,
    pub(super) beta_end: f64,
    pub(super) beta_schedule: BetaSchedule,
    pub(super) trained_betas: Option<Vec<f64>>,
    pub(super) prediction_type: PredictionType,
    pub(super) timestep_spacing: TimestepSpacing,
    pub(super) steps_offset: usize,
    pub(super) set_alpha_to_one: bool,
    pub(super) rescale_betas_zero_snr: bool,
    pub(super) use_karras_sigmas: bool,
    pub(super) sigma_min: Option<f64>,
    pub(super) sigma_max: Option<f64>,
    pub(super) final_sigmas_type: FinalSigmasType,
    pub(super) interpolation_type: InterpolationType,
    pub(super) solver_order: usize,
    pub(super) solver_type: Option<SolverType>,
    pub(super) lower_order_final: bool,
    pub(super) euler_at_final: bool,
    pub(super) lambda_min_clipped: f64,
    pub(super) disable_corrector: Vec<usize>,
    pub(super) original_inference_steps: usize,
    pub(super) timestep_scaling: f64,
}

impl SchedulerConfig {
    /// The sampler that the config's class stands for; `None` where Easel has none.
    #[must_use]
    pub fn kind(&self) -> Option<SamplerKind> {
        own_kind(self.class_name.as_deref(), self.use_karras_sigmas == Some(true))
    }

    /// Whether this is how distilled "turbo" models are published: Euler from the very last timestep, predicting noise.
    #[must_use]
    pub fn is_turbo(&self) -> bool {
        matches!(self.kind(), Some(SamplerKind::Euler | SamplerKind::EulerAncestral))
            && self.timestep_spacing == Some(TimestepSpacing::Trailing)
            && matches!(self.prediction_type, None | Some(PredictionType::Epsilon))
    }

    /// Whether Easel's samplers work with the config though none of them is the class's own.
    #[must_use]
    pub fn is_compatible(&self) -> bool {
        self.class_name.as_deref().is_some_and(|class| COMPATIBLE_CLASSES.contains(&class))
    }
}

impl Settings {
    pub(super) fn resolve(kind: Option<SamplerKind>, config: &SchedulerConfig) -> Result<Self> {
        let class = config.class_name.as_deref();
        let own = config.kind();
        let kind = chosen_kind(kind, own, class)?;
        let native = Some(kind) == own;
        refuse(kind, native, config)?;
        let family = Family::of(kind);
        let num_train_timesteps = config.num_train_timesteps.unwrap_or(1000);
        if config.trained_betas.as_ref().is_some_and(|betas| betas.len() != num_train_timesteps) {
            let reason = format!("must hold num_train_timesteps ({num_train_timesteps}) numbers");
            return Err(config_error("trained_betas", reason));
        }
        let stable_ddim = kind == SamplerKind::Ddim && own != Some(kind);
        Ok(Self {
            kind,
            num_train_timesteps,
            beta_start: config.beta_start.unwrap_or(family.beta_start),
            beta_end: config.beta_end.unwrap_or(family.beta_end),
            beta_schedule: config.beta_schedule.unwrap_or(family.beta_schedule),
            trained_betas: config.trained_betas.clone(),
            prediction_type: config.prediction_type.unwrap_or(PredictionType::Epsilon),
            timestep_spacing: config.timestep_spacing.unwrap_or(family.timestep_spacing),
            steps_offset: steps_offset(config, stable_ddim),
            set_alpha_to_one: !stable_ddim && config.set_alpha_to_one.unwrap_or(family.set_alpha_to_one),
            rescale_betas_zero_snr: config.rescale_betas_zero_snr.unwrap_or(false)
                && kind != SamplerKind::Pndm,
            use_karras_sigmas: match kind {
                SamplerKind::DpmPp2MKarras => true,
                SamplerKind::Euler | SamplerKind::UniPc => native && config.use_karras_sigmas == Some(true),
                _ => false,
            },
            sigma_min: config.sigma_min,
            sigma_max: config.sigma_max,
            final_sigmas_type: config.final_sigmas_type.unwrap_or(FinalSigmasType::Zero),
            interpolation_type: config.interpolation_type.unwrap_or(InterpolationType::Linear),
            solver_order: if native { config.solver_order.unwrap_or(2) } else { 2 },
            solver_type: config.solver_type,
            lower_order_final: config.lower_order_final.unwrap_or(true),
            euler_at_final: config.euler_at_final.unwrap_or(false),
            lambda_min_clipped: config.lambda_min_clipped.unwrap_or(f64::NEG_INFINITY),
            disable_corrector: config.disable_corrector.clone(),
            original_inference_steps: config.original_inference_steps.unwrap_or(50),
            timestep_scaling: config.timestep_scaling.unwrap_or(10.0),
        })
    }
}

/// Defaults in which the schedulers' constructors differ.
struct Family {
    beta_start: f64,
    beta_end: f64,
    beta_schedule: BetaSchedule,
    timestep_spacing: TimestepSpacing,
    set_alpha_to_one: bool,
}

impl Family {
    fn of(kind: SamplerKind) -> Self {
        let general = Self {
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            timestep_spacing: TimestepSpacing::Linspace,
            set_alpha_to_one: true,
        };
        match kind {
            SamplerKind::Ddim => Self { timestep_spacing: TimestepSpacing::Leading, ..general },
            SamplerKind::Pndm => {
                Self { timestep_spacing: TimestepSpacing::Leading, set_alpha_to_one: false, ..general }
            }
            SamplerKind::Lcm => Self {
                beta_start: 0.00085,
                beta_end: 0.012,
                beta_schedule: BetaSchedule::ScaledLinear,
                timestep_spacing: TimestepSpacing::Leading,
                ..general
            },
            _ => general,
        }
    }
}

fn own_kind(class: Option<&str>, karras: bool) -> Option<SamplerKind> {
    let (_, kind) = OWN_CLASSES.into_iter().find(|(name, _)| Some(*name) == class)?;
    Some(if kind == SamplerKind::DpmPp2M && karras { SamplerKind::DpmPp2MKarras } else { kind })
}

fn chosen_kind(
    wanted: Option<SamplerKind>,
    own: Option<SamplerKind>,
    class: Option<&str>,
) -> Result<SamplerKind> {
    let Some(class) = class else {
        return Err(config_error("_class_name", "is missing".into()));
    };
    let own_names = OWN_CLASSES.map(|(name, _)| name).join(", ");
    match (wanted, own) {
        (None, Some(own)) => Ok(own),
        (None, None) => Err(unsupported_class(class, format!("{own_names}; or name a sampler"))),
        (Some(wanted), Some(_)) => Ok(wanted),
        (Some(wanted), None) if COMPATIBLE_CLASSES.contains(&class) => Ok(wanted),
        (Some(_), None) => {
            Err(unsupported_class(class, format!("{own_names}, {}", COMPATIBLE_CLASSES.join(", "))))
        }
    }
}

/// Diffusers' `StableDiffusionPipeline` sets every scheduler's offset to 1; its SDXL and latent consistency pipelines do
/// not. DDIM in place of a latent consistency scheduler is meant as Stable Diffusion's own DDIM config has it.
fn steps_offset(config: &SchedulerConfig, stable_ddim: bool) -> usize {
    let is_lcm = config.class_name.as_deref() == Some("LCMScheduler");
    if config.keeps_steps_offset || (is_lcm && !stable_ddim) { config.steps_offset.unwrap_or(0) } else { 1 }
}

/// Fails on a field that asks the algorithm for something it does not do here.
fn refuse(kind: SamplerKind, native: bool, config: &SchedulerConfig) -> Result<()> {
    let known: &[&str] = match kind {
        SamplerKind::Ddim | SamplerKind::Lcm => &["thresholding"],
        SamplerKind::Pndm => &["skip_prk_steps"],
        SamplerKind::EulerAncestral => &[],
        SamplerKind::Euler => &["use_exponential_sigmas", "use_beta_sigmas", "timestep_type"],
        SamplerKind::DpmPp2M | SamplerKind::DpmPp2MKarras => &[
            "thresholding",
            "use_exponential_sigmas",
            "use_beta_sigmas",
            "use_lu_lambdas",
            "use_flow_sigmas",
            "use_dynamic_shifting",
            "variance_type",
            "algorithm_type",
        ],
        SamplerKind::UniPc => &[
            "thresholding",
            "use_exponential_sigmas",
            "use_beta_sigmas",
            "use_flow_sigmas",
            "use_dynamic_shifting",
            "solver_p",
            "predict_x0",
        ],
    };
    // A sampler named by the user is that sampler, whatever solver the config was tuned for.
    let matters = |field: &str| known.contains(&field) && (native || field != "algorithm_type");
    if let Some(field) = config.refused.iter().find(|field| matters(field)) {
        let reason =
            format!("has a value that the {} sampler does not support; name another sampler", kind.as_str());
        return Err(config_error(field, reason));
    }
    let no_sample = matches!(kind, SamplerKind::Pndm | SamplerKind::EulerAncestral);
    if no_sample && config.prediction_type == Some(PredictionType::Sample) {
        let reason =
            format!("is `sample`, which the {} sampler does not support; name another", kind.as_str());
        return Err(config_error("prediction_type", reason));
    }
    Ok(())
}

/// Bounds a request's number of steps.
pub(super) fn check_steps(steps: usize, limit: usize, limit_name: &str) -> Result<()> {
    if (1..=limit).contains(&steps) {
        return Ok(());
    }
    let reason = format!("must be from 1 to the model's {limit_name} of {limit}, not {steps}");
    Err(Error::Parameter { name: "steps".into(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pipelines_of_stable_diffusion_set_the_offset() {
        let (euler, ddim, lcm) = ("EulerDiscreteScheduler", "DDIMScheduler", "LCMScheduler");
        for (class, kind, keeps_steps_offset, steps_offset, expected) in [
            (euler, None, false, None, 1),
            (euler, None, false, Some(0), 1),
            (euler, None, true, None, 0),
            (euler, None, true, Some(0), 0),
            (euler, None, true, Some(1), 1),
            (euler, Some(SamplerKind::Ddim), true, Some(0), 0),
            (euler, Some(SamplerKind::Ddim), false, Some(0), 1),
            (ddim, None, true, None, 0),
            (lcm, None, false, None, 0),
            (lcm, Some(SamplerKind::Euler), false, Some(0), 0),
            (lcm, Some(SamplerKind::Ddim), false, Some(0), 1),
        ] {
            let class_name = Some(class.to_owned());
            let config = SchedulerConfig {
                class_name,
                steps_offset,
                keeps_steps_offset,
                ..SchedulerConfig::default()
            };
            let settings = Settings::resolve(kind, &config).unwrap();
            assert_eq!(
                settings.steps_offset, expected,
                "{class} {kind:?} {keeps_steps_offset} {steps_offset:?}"
            );
        }
    }
}
