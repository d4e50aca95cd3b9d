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
pub use plan::{ModelCall, Sampler, Slot, Update};
use settings::Settings;

use crate::error::{Error, Result};

/// Lays out a run of `steps` steps with the named sampler, or with the config's own where `kind` is `None`.
///
/// A sampler that is not the config's own is set up as diffusers' `from_config` does it: with the config's fields that
/// it knows and its own defaults for the rest.
///
/// # Errors
/// [`Error::Parameter`] for steps that the schedule does not have, [`Error::UnsupportedClass`] for a scheduler that
/// Easel does not run, [`Error::Config`] for values of the config that the sampler cannot work with.
pub fn build(kind: Option<SamplerKind>, config: &SchedulerConfig, steps: usize) -> Result<Sampler> {
    let settings = Settings::resolve(kind, config)?;
    settings::check_steps(steps, settings.num_train_timesteps, "num_train_timesteps")?;
    let sampler = match settings.kind {
        SamplerKind::Ddim => ddim::plan(&settings, steps),
        SamplerKind::Pndm => pndm::plan(&settings, steps),
        SamplerKind::Euler => Ok(euler::plan(&settings, steps)),
        SamplerKind::EulerAncestral => Ok(euler_ancestral::plan(&settings, steps)),
        SamplerKind::DpmPp2M | SamplerKind::DpmPp2MKarras => Ok(dpmpp_2m::plan(&settings, steps)),
        SamplerKind::UniPc => Ok(unipc::plan(&settings, steps)),
        SamplerKind::Lcm => lcm::plan(&settings, steps),
    }?;
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
