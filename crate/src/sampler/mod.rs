//! Samplers: from a scheduler's config and a number of steps to the timesteps of every UNet call and the coefficients
//! that turn its output into the next sample. All arithmetic here is host `f64`; no tensors.

mod combination;
mod config;
mod ddim;
mod dpmpp_2m;
mod euler;
mod euler_ancestral;
mod lcm;
mod plan;
mod pndm;
mod schedule;
mod settings;
mod sigmas;
mod timesteps;
mod unipc;

use std::str::FromStr;

pub use config::{
    BetaSchedule, FinalSigmasType, InterpolationType, PredictionType, SchedulerConfig, SolverType,
    TimestepSpacing,
};
pub use plan::{ModelCall, Sampler, Slot, Span, Update};
use settings::Settings;

use crate::error::{Error, Result};

/// Lays out `span` of a run of `steps` steps with the named sampler, or with the config's own where `kind` is `None`.
///
/// A sampler that is not the config's own is set up as diffusers' `from_config` does it: with the config's fields that
/// it knows and its own defaults for the rest.
///
/// # Errors
/// [`Error::Parameter`] for steps that the schedule does not have, [`Error::UnsupportedClass`] for a scheduler that
/// Easel does not run, [`Error::Config`] for values of the config that the sampler cannot work with.
pub fn build(
    kind: Option<SamplerKind>,
    config: &SchedulerConfig,
    steps: usize,
    span: Span,
) -> Result<Sampler> {
    let settings = Settings::resolve(kind, config)?;
    settings::check_steps(steps, settings.num_train_timesteps, "num_train_timesteps")?;
    let (start, share) = match span {
        Span::All => (0, 1.0),
        Span::From(start) => (start, 1.0),
        Span::Below(share) => (0, share),
    };
    let sampler = match settings.kind {
        SamplerKind::Ddim => ddim::plan(&settings, steps, start),
        SamplerKind::Pndm => pndm::plan(&settings, steps, start),
        SamplerKind::Euler => Ok(euler::plan(&settings, steps, start)),
        SamplerKind::EulerAncestral => Ok(euler_ancestral::plan(&settings, steps, start)),
        SamplerKind::DpmPp2M | SamplerKind::DpmPp2MKarras => Ok(dpmpp_2m::plan(&settings, steps, start)),
        SamplerKind::UniPc => Ok(unipc::plan(&settings, steps, start)),
        SamplerKind::Lcm => lcm::plan(&settings, steps, start, share),
    }?;
    // PNDM has one call more than steps, which would be left.
    if start >= steps || sampler.calls.is_empty() {
        let reason = format!("leaves none of {steps} steps to make: raise it, or the steps");
        return Err(Error::Parameter { name: "strength".into(), reason });
    }
    if sampler.is_finite() {
        return Ok(sampler);
    }
    let reason =
        format!("gives no finite {} run of {steps} steps with its other fields", settings.kind.as_str());
    Err(config::config_error("_class_name", reason))
}

/// A sampling algorithm that the user can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SamplerKind {
    /// DDIM with eta 0 (arXiv:2010.02502).
    Ddim,
    /// PNDM without its Runge-Kutta warm-up, also known as PLMS (arXiv:2202.09778).
    Pndm,
    /// Euler's method over sigmas (arXiv:2206.00364, algorithm 2 without churn).
    Euler,
    /// Euler with ancestral noise.
    EulerAncestral,
    /// Multistep DPM-Solver++ of second order (arXiv:2211.01095).
    DpmPp2M,
    /// [`Self::DpmPp2M`] over the sigmas of arXiv:2206.00364, equation 5.
    DpmPp2MKarras,
    /// `UniPC` with its corrector (arXiv:2302.04867).
    UniPc,
    /// Latent consistency sampling (arXiv:2310.04378).
    Lcm,
}

impl SamplerKind {
    /// Every kind, in the order to show them.
    pub const ALL: [Self; 8] = [
        Self::Ddim,
        Self::Pndm,
        Self::Euler,
        Self::EulerAncestral,
        Self::DpmPp2M,
        Self::DpmPp2MKarras,
        Self::UniPc,
        Self::Lcm,
    ];

    /// Name on the command line and in the JavaScript interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Pndm => "pndm",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler-a",
            Self::DpmPp2M => "dpmpp-2m",
            Self::DpmPp2MKarras => "dpmpp-2m-karras",
            Self::UniPc => "unipc",
            Self::Lcm => "lcm",
        }
    }

    /// Name for people and for the `Sampler:` entry of a picture's metadata, as the Stable Diffusion web UIs write it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ddim => "DDIM",
            Self::Pndm => "PLMS",
            Self::Euler => "Euler",
            Self::EulerAncestral => "Euler a",
            Self::DpmPp2M => "DPM++ 2M",
            Self::DpmPp2MKarras => "DPM++ 2M Karras",
            Self::UniPc => "UniPC",
            Self::Lcm => "LCM",
        }
    }
}

impl FromStr for SamplerKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| Error::Parameter {
            name: "sampler".into(),
            reason: format!("must be one of {}, not {name:?}", Self::ALL.map(Self::as_str).join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

    fn build_from(kind: Option<SamplerKind>, json: &str, steps: usize) -> Result<Sampler> {
        build(kind, &SchedulerConfig::from_json(json)?, steps, Span::All)
    }

    /// Every term and every written slot exists, and no history is read before it was written.
    fn assert_sound(sampler: &Sampler, name: &str) {
        let mut written = vec![false; sampler.history_slots];
        for call in &sampler.calls {
            for (slot, _) in call.updates.iter().flat_map(|update| &update.terms) {
                assert!(!matches!(slot, Slot::History(i) if !written[*i]), "{name} reads {slot:?} too early");
            }
            for update in &call.updates {
                if let Slot::History(i) = update.target {
                    written[i] = true;
                } else {
                    assert_eq!(update.target, Slot::Sample, "{name}");
                }
                assert!(!update.terms.is_empty() && update.terms.len() <= 6, "{name}: {update:?}");
            }
        }
        assert!(sampler.calls.last().is_some_and(|call| !call.needs_noise()), "{name} ends in noise");
    }

    fn code<T>(result: Result<T>) -> String {
        result.err().map_or_else(String::new, |error| error.code().to_owned())
    }

    #[test]
    fn names_parse_back() -> TestResult {
        for kind in SamplerKind::ALL {
            assert_eq!(kind.as_str().parse::<SamplerKind>()?, kind);
        }
        assert_eq!(code("Euler".parse::<SamplerKind>()), "bad_parameter");
        Ok(())
    }

    #[test]
    fn runs_of_any_length_are_sound() -> TestResult {
        for kind in SamplerKind::ALL {
            for spacing in ["leading", "linspace", "trailing"] {
                let json = format!(r#"{{"_class_name": "PNDMScheduler", "timestep_spacing": "{spacing}"}}"#);
                for steps in (1..=50).chain([61, 999]) {
                    let name = format!("{} {spacing} {steps}", kind.as_str());
                    match build_from(Some(kind), &json, steps) {
                        Ok(sampler) => {
                            let extra = usize::from(kind == SamplerKind::Pndm && steps > 1);
                            assert_eq!(sampler.calls.len(), steps + extra, "{name}");
                            assert_sound(&sampler, &name);
                        }
                        // Neighbouring steps of a multistep solver fall on one timestep; LCM knows 50.
                        Err(error) => assert!(steps > 50, "{name}: {error}"),
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn runs_that_start_later_are_sound() -> TestResult {
        let config = SchedulerConfig::from_json(r#"{"_class_name": "PNDMScheduler"}"#)?;
        for kind in SamplerKind::ALL {
            let whole = build(Some(kind), &config, 9, Span::All)?.calls;
            for start in 0..9 {
                let name = format!("{} from {start}", kind.as_str());
                let sampler = build(Some(kind), &config, 9, Span::From(start))?;
                assert_eq!(sampler.calls.len(), whole.len() - start, "{name}");
                assert_sound(&sampler, &name);
                let levels = |calls: &[ModelCall]| -> Vec<_> {
                    calls.iter().map(|call| (call.timestep, call.sigma, call.noised())).collect()
                };
                assert_eq!(levels(&sampler.calls), levels(&whole[start..]), "{name}");
            }
            assert_eq!(code(build(Some(kind), &config, 9, Span::From(9))), "bad_parameter", "{kind:?}");
        }
        let below = |steps, share| build(Some(SamplerKind::Lcm), &config, steps, Span::Below(share));
        let timesteps: Vec<f64> = below(4, 0.5)?.calls.iter().map(|call| call.timestep).collect();
        assert_eq!(timesteps, [499.0, 379.0, 259.0, 139.0]);
        assert_eq!(code(below(4, 0.07)), "bad_parameter");
        Ok(())
    }

    #[test]
    fn noise_is_as_strong_as_a_call_expects() -> TestResult {
        for class in ["DDIMScheduler", "EulerDiscreteScheduler"] {
            let sampler = build_from(None, &format!(r#"{{"_class_name": "{class}"}}"#), 5)?;
            for call in &sampler.calls {
                let (clean, noise) = call.noised();
                assert!((noise / clean / call.sigma - 1.0).abs() < 1e-12, "{class}: {call:?}");
                let variance = (clean * call.input_scale).powi(2) + (noise * call.input_scale).powi(2);
                assert!((variance - 1.0).abs() < 1e-12, "{class}: {call:?}");
            }
        }
        let nothing =
            ModelCall { timestep: 999.0, sigma: f64::INFINITY, input_scale: 1.0, updates: Vec::new() };
        assert_eq!(nothing.noised(), (0.0, 1.0), "zero terminal SNR");
        Ok(())
    }

    #[test]
    fn impossible_numbers_of_steps_are_refused() {
        let json = r#"{"_class_name": "DDIMScheduler"}"#;
        for (kind, steps) in [(None, 0), (None, 1000), (None, 1001), (Some(SamplerKind::Lcm), 51)] {
            assert_eq!(code(build_from(kind, json, steps)), "bad_parameter", "{kind:?} {steps}");
        }
    }

    #[test]
    fn python_infinities_are_read() -> TestResult {
        let json = r#"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity}"#;
        assert_eq!(SchedulerConfig::from_json(json)?.lambda_min_clipped, None);
        assert!(build_from(None, json, 4).is_ok());
        Ok(())
    }

    #[test]
    fn hostile_configs_name_the_field() {
        for (field, json) in [
            ("(document)", "[]"),
            ("(document)", "{"),
            ("_class_name", "{}"),
            ("_class_name", r#"{"_class_name": 3}"#),
            ("num_train_timesteps", r#"{"num_train_timesteps": 1e18}"#),
            ("num_train_timesteps", r#"{"num_train_timesteps": 0}"#),
            ("num_train_timesteps", r#"{"num_train_timesteps": 10.5}"#),
            ("beta_start", r#"{"beta_start": 0}"#),
            ("beta_end", r#"{"beta_end": "much"}"#),
            ("beta_schedule", r#"{"beta_schedule": "sigmoid"}"#),
            ("trained_betas", r#"{"_class_name": "DDIMScheduler", "trained_betas": [0.1]}"#),
            ("trained_betas", r#"{"trained_betas": [2]}"#),
            ("prediction_type", r#"{"prediction_type": "flow_prediction"}"#),
            ("prediction_type", r#"{"_class_name": "PNDMScheduler", "prediction_type": "sample"}"#),
            ("solver_order", r#"{"solver_order": 4}"#),
            ("disable_corrector", r#"{"disable_corrector": [-1]}"#),
            ("thresholding", r#"{"_class_name": "DDIMScheduler", "thresholding": true}"#),
            ("skip_prk_steps", r#"{"_class_name": "PNDMScheduler", "skip_prk_steps": false}"#),
            (
                "variance_type",
                r#"{"_class_name": "DPMSolverMultistepScheduler", "variance_type": "learned_range"}"#,
            ),
            (
                "algorithm_type",
                r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"}"#,
            ),
        ] {
            let error = build_from(None, json, 4).err();
            let named = matches!(&error, Some(Error::Config { file, field: named, .. })
                if file == "scheduler/scheduler_config.json" && named == field);
            assert!(named, "{json}: {error:?}");
        }
    }

    #[test]
    fn unusable_schedules_are_errors() {
        let zero_snr = r#"{"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true,
            "timestep_spacing": "trailing"}"#;
        let vanishing = r#"{"_class_name": "EulerDiscreteScheduler", "beta_start": 0.9, "beta_end": 0.9}"#;
        for json in [zero_snr, vanishing] {
            assert_eq!(code(build_from(None, json, 4)), "bad_config", "{json}");
        }
    }

    #[test]
    fn other_classes_are_named() {
        let lms = r#"{"_class_name": "LMSDiscreteScheduler"}"#;
        assert_eq!(code(build_from(None, lms, 4)), "unsupported_class");
        assert!(build_from(Some(SamplerKind::Euler), lms, 4).is_ok());
        let flow = r#"{"_class_name": "FlowMatchEulerDiscreteScheduler"}"#;
        assert_eq!(code(build_from(Some(SamplerKind::Euler), flow, 4)), "unsupported_class");
    }
}
