//! `scheduler/scheduler_config.json`, as diffusers' schedulers save it.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Path of the file inside a model, for messages.
const FILE: &str = "scheduler/scheduler_config.json";
/// More training timesteps than any published model has; bounds the tables.
const MAX_TRAIN_TIMESTEPS: f64 = 100_000.0;

const VARIANCES: [&str; 4] = ["fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"];

/// Declares an enum whose variants are spelled as in the JSON file.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            const CHOICES: &'static [(&'static str, Self)] = &[$(($text, Self::$variant)),+];
        }
    };
}

choice! {
    /// How betas grow from `beta_start` to `beta_end`.
    BetaSchedule {
        /// Evenly.
        Linear = "linear",
        /// Evenly in their square roots: latent diffusion models.
        ScaledLinear = "scaled_linear",
        /// So that alphas follow a squared cosine (arXiv:2102.09672, equation 17).
        SquaredCosCapV2 = "squaredcos_cap_v2",
    }
}

choice! {
    /// What the UNet's output means.
    PredictionType {
        /// The noise in the sample.
        Epsilon = "epsilon",
        /// The velocity `alpha * noise - sigma * x0` (arXiv:2202.00512, section 4).
        VPrediction = "v_prediction",
        /// The clean sample.
        Sample = "sample",
    }
}

choice! {
    /// Which of the training timesteps a run visits (arXiv:2305.08891, table 2).
    TimestepSpacing {
        /// Whole strides from 0 up, plus `steps_offset`.
        Leading = "leading",
        /// Evenly from the first to the last.
        Linspace = "linspace",
        /// Strides from the last down.
        Trailing = "trailing",
    }
}

choice! {
    /// The noise level that a run ends at.
    FinalSigmasType {
        /// No noise.
        Zero = "zero",
        /// The lowest level seen in training.
        SigmaMin = "sigma_min",
    }
}

choice! {
    /// How Euler finds the sigma of a timestep between two training timesteps.
    InterpolationType {
        /// Linearly.
        Linear = "linear",
        /// Not at all: sigmas are spaced evenly in their logarithms.
        LogLinear = "log_linear",
    }
}

choice! {
    /// Variant of a multistep solver. Each scheduler understands its own two names and takes others for its default.
    SolverType {
        /// DPM-Solver++, default.
        Midpoint = "midpoint",
        /// DPM-Solver++.
        Heun = "heun",
        /// `UniPC`.
        Bh1 = "bh1",
        /// `UniPC`, default.
        Bh2 = "bh2",
        /// DEIS; a default everywhere else.
        LogRho = "logrho",
    }
}

/// The file's contents. A field that is absent or null is `None`, and the sampler's own default holds.
///
/// `clip_sample` is read by nobody: diffusers' Stable Diffusion pipelines turn it off, latents are not in -1..1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SchedulerConfig {
    /// `_class_name`.
    pub class_name: Option<String>,
    /// Length of the training noise schedule, 1..=100 000.
    pub num_train_timesteps: Option<usize>,
    /// First beta, over 0 and below 1.
    pub beta_start: Option<f64>,
    /// Last beta, over 0 and below 1.
    pub beta_end: Option<f64>,
    /// Shape of the noise schedule.
    pub beta_schedule: Option<BetaSchedule>,
    /// The betas themselves, in place of the three fields before; `num_train_timesteps` of them.
    pub trained_betas: Option<Vec<f64>>,
    /// Meaning of the UNet's output.
    pub prediction_type: Option<PredictionType>,
    /// Choice of timesteps.
    pub timestep_spacing: Option<TimestepSpacing>,
    /// Added to timesteps under [`TimestepSpacing::Leading`].
    pub steps_offset: Option<usize>,
    /// Not of the file: whether [`Self::steps_offset`] holds as it is, and 0 where it is absent. diffusers'
    /// `StableDiffusionPipeline` sets it to 1 whatever the file says; `StableDiffusionXLPipeline` does not.
    pub keeps_steps_offset: bool,
    /// Whether the step below timestep 0 is free of noise.
    pub set_alpha_to_one: Option<bool>,
    /// Whether the last training timestep is made pure noise (arXiv:2305.08891, algorithm 1).
    pub rescale_betas_zero_snr: Option<bool>,
    /// Whether sigmas follow arXiv:2206.00364, equation 5.
    pub use_karras_sigmas: Option<bool>,
    /// Lowest Karras sigma.
    pub sigma_min: Option<f64>,
    /// Highest Karras sigma.
    pub sigma_max: Option<f64>,
    /// Noise level at the end.
    pub final_sigmas_type: Option<FinalSigmasType>,
    /// Euler's way between timesteps.
    pub interpolation_type: Option<InterpolationType>,
    /// Order of a multistep solver, 1..=3.
    pub solver_order: Option<usize>,
    /// Variant of a multistep solver.
    pub solver_type: Option<SolverType>,
    /// Whether the last steps of short runs are of lower order.
    pub lower_order_final: Option<bool>,
    /// Whether DPM-Solver++ always ends with a first-order step.
    pub euler_at_final: Option<bool>,
    /// DPM-Solver++ starts no higher than where `ln(alpha / sigma)` reaches this.
    pub lambda_min_clipped: Option<f64>,
    /// Steps after which `UniPC` does not correct.
    pub disable_corrector: Vec<usize>,
    /// Timesteps that the latent consistency model was distilled with.
    pub original_inference_steps: Option<usize>,
    /// Factor of the consistency model's boundary condition.
    pub timestep_scaling: Option<f64>,
    /// Fields with a value that asks for something Easel does not do. They matter to the schedulers that know them.
    pub(super) refused: Vec<&'static str>,
}

impl SchedulerConfig {
    /// Path of the file in a model.
    pub const FILE: &str = FILE;

    /// Reads the text of `scheduler_config.json`.
    ///
    /// # Errors
    /// [`Error::Config`] that names the field, for text that is not a JSON object or a value out of its range.
    pub fn from_json(text: &str) -> Result<Self> {
        let document = serde_json::from_str(&without_infinities(text))
            .map_err(|error| config_error("(document)", format!("is not JSON: {error}")))?;
        let Value::Object(map) = document else {
            return Err(config_error("(document)", "is not a JSON object".into()));
        };
        let fields = Fields(&map);
        let config = Self {
            class_name: fields.text("_class_name")?.map(str::to_owned),
            num_train_timesteps: fields.whole("num_train_timesteps", 1.0, MAX_TRAIN_TIMESTEPS)?,
            beta_start: fields.beta("beta_start")?,
            beta_end: fields.beta("beta_end")?,
            beta_schedule: fields.choice("beta_schedule", BetaSchedule::CHOICES)?,
            trained_betas: fields.betas("trained_betas")?,
            prediction_type: fields.choice("prediction_type", PredictionType::CHOICES)?,
            timestep_spacing: fields.choice("timestep_spacing", TimestepSpacing::CHOICES)?,
            steps_offset: fields.whole("steps_offset", 0.0, MAX_TRAIN_TIMESTEPS)?,
            keeps_steps_offset: false,
            set_alpha_to_one: fields.flag("set_alpha_to_one")?,
            rescale_betas_zero_snr: fields.flag("rescale_betas_zero_snr")?,
            use_karras_sigmas: fields.flag("use_karras_sigmas")?,
            sigma_min: fields.number("sigma_min", 1e-6, 1e6)?,
            sigma_max: fields.number("sigma_max", 1e-6, 1e6)?,
            final_sigmas_type: fields.choice("final_sigmas_type", FinalSigmasType::CHOICES)?,
            interpolation_type: fields.choice("interpolation_type", InterpolationType::CHOICES)?,
            solver_order: fields.whole("solver_order", 1.0, 3.0)?,
            solver_type: fields.choice("solver_type", SolverType::CHOICES)?,
            lower_order_final: fields.flag("lower_order_final")?,
            euler_at_final: fields.flag("euler_at_final")?,
            lambda_min_clipped: fields.number("lambda_min_clipped", f64::MIN, f64::MAX)?,
            disable_corrector: fields.steps("disable_corrector")?,
            original_inference_steps: fields.whole("original_inference_steps", 1.0, MAX_TRAIN_TIMESTEPS)?,
            timestep_scaling: fields.number("timestep_scaling", 0.0, 1e6)?,
            refused: fields.refused(),
        };
        Ok(config)
    }
}

pub(super) fn config_error(field: &str, reason: String) -> Error {
    Error::Config { file: FILE.into(), field: field.into(), reason }
}

pub(super) fn unsupported_class(class: &str, supported: String) -> Error {
    Error::UnsupportedClass { file: FILE.into(), class: class.into(), supported }
}

/// Replaces the non-JSON numbers that Python writes by null: `DPMSolverMultistepScheduler` saves its default
/// `lambda_min_clipped` as `-Infinity`.
fn without_infinities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, piece) in text.split('"').enumerate() {
        if i > 0 {
            out.push('"');
        }
        // Strings are the odd pieces; an escaped quote shifts the parity, and then serde_json sees the original token.
        if i % 2 == 0 {
            out.push_str(
                &piece.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null"),
            );
        } else {
            out.push_str(piece);
        }
    }
    out
}

/// Typed access to a JSON object; null counts as absent.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn value(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| config_error(name, "must be a string".into()))
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| config_error(name, "must be true or false".into()))
    }

    fn number(&self, name: &str, min: f64, max: f64) -> Result<Option<f64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let in_range = value.as_f64().filter(|number| (min..=max).contains(number));
        in_range.map(Some).ok_or_else(|| config_error(name, format!("must be a number from {min} to {max}")))
    }

    fn whole(&self, name: &str, min: f64, max: f64) -> Result<Option<usize>> {
        match self.number(name, min, max)? {
            Some(number) if number.fract() != 0.0 => Err(config_error(name, "must be a whole number".into())),
            number => Ok(number.map(|number| number as usize)),
        }
    }

    fn beta(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let beta = value.as_f64().filter(|&beta| is_beta(beta));
        beta.map(Some).ok_or_else(|| config_error(name, "must be a number over 0 and below 1".into()))
    }

    fn betas(&self, name: &str) -> Result<Option<Vec<f64>>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let reason = || config_error(name, "must be a list of numbers over 0 and below 1".into());
        let items =
            value.as_array().filter(|items| items.len() as f64 <= MAX_TRAIN_TIMESTEPS).ok_or_else(reason)?;
        let betas: Option<_> = items.iter().map(|item| item.as_f64().filter(|&beta| is_beta(beta))).collect();
        betas.map(Some).ok_or_else(reason)
    }

    fn steps(&self, name: &str) -> Result<Vec<usize>> {
        let Some(value) = self.value(name) else { return Ok(Vec::new()) };
        let steps = value.as_array().and_then(|items| {
            items.iter().map(|item| item.as_u64().and_then(|step| usize::try_from(step).ok())).collect()
        });
        steps.ok_or_else(|| config_error(name, "must be a list of whole numbers".into()))
    }

    fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let found = choices.iter().find(|(spelling, _)| *spelling == text).map(|(_, value)| *value);
        found.map(Some).ok_or_else(|| {
            let spellings: Vec<_> = choices.iter().map(|(spelling, _)| *spelling).collect();
            config_error(name, format!("must be one of {}, not {text:?}", spellings.join(", ")))
        })
    }

    /// Names of the fields whose value asks for what no sampler here does.
    fn refused(&self) -> Vec<&'static str> {
        let is =
            |name: &str, accepted: &[Value]| self.value(name).is_none_or(|value| accepted.contains(value));
        let off = &[Value::Bool(false)];
        let rules: [(&'static str, &[Value]); 12] = [
            ("thresholding", off),
            ("use_exponential_sigmas", off),
            ("use_beta_sigmas", off),
            ("use_lu_lambdas", off),
            ("use_flow_sigmas", off),
            ("use_dynamic_shifting", off),
            // What DDPM writes, and no sampler here reads, but for the two that are learnt.
            ("variance_type", &VARIANCES.map(Value::from)),
            ("solver_p", &[]),
            ("predict_x0", &[Value::Bool(true)]),
            ("skip_prk_steps", &[Value::Bool(true)]),
            ("timestep_type", &["discrete".into()]),
            ("algorithm_type", &["dpmsolver++".into(), "deis".into()]),
        ];
        rules.into_iter().filter(|(name, accepted)| !is(name, accepted)).map(|(name, _)| name).collect()
    }
}

fn is_beta(beta: f64) -> bool {
    beta > 0.0 && beta < 1.0
}
