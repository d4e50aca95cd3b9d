//! What a checkpoint's UNet predicts, and the scheduler that goes with it.
//!
//! Shapes do not tell noise from velocity. In this order it is said by: the user; marker tensors (`v_pred`, `ztsnr`),
//! which tools for SDXL write; the file's metadata (ModelSpec). Stable Diffusion 2 was published both ways before there
//! were markers, and says it only by its numbers, see [`by_numbers`]. Everything else predicts the noise. That a model is
//! distilled for a few steps is said by its name alone.

use serde_json::{Value, json};

use super::checkpoint::Checkpoint;
use super::unet;
use crate::error::Result;
use crate::weights::convert::append_f32;
use crate::weights::safetensors::TensorInfo;
use crate::weights::source::Source;

/// Markers of noise schedules that are not those of Stable Diffusion: of Playground 2.5, and of CosXL.
const OTHER_SCHEDULES: [&str; 2] = ["edm_mean", "edm_vpred.sigma_max"];

const VELOCITY: &str = "v_pred";
const ZERO_SNR: &str = "ztsnr";

/// `modelspec.prediction_type` by the ModelSpec standard, `predict_key` as ComfyUI writes it.
const METADATA: [&str; 2] = ["modelspec.prediction_type", "modelspec.predict_key"];

const ARCHITECTURE: &str = "modelspec.architecture";
const TITLE: &str = "modelspec.title";

/// What models that are distilled for a few steps are called. They begin at pure noise, with guidance in them, and their
/// weights have no trace of it.
const FEW_STEPS: [&str; 2] = ["turbo", "lightning"];

/// Standard deviation over which Stable Diffusion 2 predicts the velocity.
const VELOCITY_DEVIATION: f64 = 0.09;

/// Most bytes of the tensor that tells: a bias of 8192 numbers.
const MAX_BIAS_BYTES: u64 = 32 << 10;

/// What the UNet's output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise: `epsilon`.
    Epsilon,
    /// The velocity: `v_prediction`.
    Velocity,
}

impl Prediction {
    /// By the name that diffusers gives it, or ModelSpec (`v`); `None` for another.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "epsilon" => Some(Self::Epsilon),
            "v" | "v_prediction" => Some(Self::Velocity),
            _ => None,
        }
    }

    /// The name that diffusers gives it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Velocity => "v_prediction",
        }
    }
}

/// Refuses schedules that are not implemented.
///
/// # Errors
/// [`crate::error::Error::UnsupportedClass`] with the marker.
pub(super) fn check(checkpoint: &Checkpoint<'_>) -> Result<()> {
    match OTHER_SCHEDULES.iter().find(|marker| checkpoint.has(marker)) {
        Some(marker) => Err(checkpoint
            .unsupported(*marker, "the noise schedule of Stable Diffusion, which has no such tensor")),
        None => Ok(()),
    }
}

/// What the checkpoint itself says.
pub(super) fn said(checkpoint: &Checkpoint<'_>) -> Option<Prediction> {
    if checkpoint.has(VELOCITY) {
        return Some(Prediction::Velocity);
    }
    let metadata = &checkpoint.header.metadata;
    let by_name = METADATA.iter().find_map(|key| Prediction::from_name(metadata.get(*key)?));
    let by_architecture = || metadata.get(ARCHITECTURE)?.ends_with("-v").then_some(Prediction::Velocity);
    by_name.or_else(by_architecture)
}

/// The tensor by whose numbers [`by_numbers`] tells, by its name in the checkpoint: the first norm's bias of the last
/// transformer.
pub(super) fn telling<'a>(checkpoint: &Checkpoint<'a>) -> Option<(&'a str, &'a TensorInfo)> {
    let tensors = checkpoint.below(unet::PREFIX).into_iter();
    let last_block = tensors.filter(|(name, _)| name.starts_with("output_blocks."));
    let biases = last_block.filter(|(name, _)| name.ends_with(".1.transformer_blocks.0.norm1.bias"));
    let number = |name: &str| name.split('.').nth(1).and_then(|number| number.parse::<usize>().ok());
    biases.max_by_key(|(name, _)| number(name))
}

/// What Stable Diffusion 2 predicts, by the spread of a bias near the UNet's output. The base model and its descendants
/// lie below [`VELOCITY_DEVIATION`], those trained on for the velocity above; ComfyUI decides by the same number
/// (`comfy/supported_models.py`, `SD20.model_type`). It is a rule of thumb, hence the last to be asked.
///
/// # Errors
/// Those of the source.
pub(super) async fn by_numbers(
    source: &dyn Source,
    file: &str,
    telling: Option<&TensorInfo>,
) -> Result<Prediction> {
    let small = telling.filter(|info| info.range.end - info.range.start <= MAX_BIAS_BYTES);
    let Some(info) = small else { return Ok(Prediction::Epsilon) };
    let bytes = source.read(file, info.range.clone()).await?;
    let mut numbers = Vec::new();
    append_f32(&info.dtype, &bytes, &mut numbers);
    let count = numbers.len().max(1) as f64;
    let mean = numbers.iter().map(|number| f64::from(*number)).sum::<f64>() / count;
    let variance = numbers.iter().map(|number| (f64::from(*number) - mean).powi(2)).sum::<f64>() / count;
    Ok(if variance.sqrt() > VELOCITY_DEVIATION { Prediction::Velocity } else { Prediction::Epsilon })
}

/// Whether the file's name or its title says that it is distilled for a few steps.
fn is_for_few_steps(checkpoint: &Checkpoint<'_>) -> bool {
    let name = checkpoint.file.rsplit('/').next().unwrap_or_default();
    let title = checkpoint.header.metadata.get(TITLE).map_or("", String::as_str);
    let words = format!("{name} {title}").to_ascii_lowercase();
    FEW_STEPS.iter().any(|word| words.contains(word))
}

/// `scheduler/scheduler_config.json` as the published models of the family have it.
pub(super) fn config(checkpoint: &Checkpoint<'_>, prediction: Prediction, xl: bool, lcm: bool) -> Value {
    let mut config = json!({
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
        "timestep_spacing": "leading",
        "steps_offset": 1,
        "set_alpha_to_one": false,
        "_class_name": "PNDMScheduler",
        "skip_prk_steps": true,
    });
    if xl {
        config["_class_name"] = json!("EulerDiscreteScheduler");
    }
    if lcm {
        config["_class_name"] = json!("LCMScheduler");
        config["original_inference_steps"] = json!(50);
        config["set_alpha_to_one"] = json!(true);
        config["steps_offset"] = json!(0);
    }
    if prediction == Prediction::Epsilon && !lcm && is_for_few_steps(checkpoint) {
        config["_class_name"] = json!("EulerDiscreteScheduler");
        config["timestep_spacing"] = json!("trailing");
    }
    if prediction == Prediction::Velocity {
        config["prediction_type"] = json!("v_prediction");
        if !xl {
            config["_class_name"] = json!("DDIMScheduler");
        }
        if checkpoint.has(ZERO_SNR) {
            config["rescale_betas_zero_snr"] = json!(true);
            config["timestep_spacing"] = json!("trailing");
        }
    }
    config
}
