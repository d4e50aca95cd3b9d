//! What a sampler asks of the machine that holds the tensors: linear combinations, with all their coefficients known
//! before the first model call.

/// Which steps of a run are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Span {
    /// All.
    All,
    /// Those from this one on, counted from 0, for a sample that has the noise of its level (`get_timesteps` of
    /// diffusers' `StableDiffusionImg2ImgPipeline`).
    From(usize),
    /// As many as the run has, over this share of the consistency sampler's timesteps, the least noisy ones (`strength`
    /// of diffusers' `LCMScheduler.set_timesteps`). The other samplers make all theirs.
    Below(f64),
}

/// A tensor of the latents' shape that a step reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The current noisy sample; the latents in the end.
    Sample,
    /// What the UNet returned for this call, after guidance. Never written.
    ModelOutput,
    /// Fresh standard normal noise, drawn for this call only. Never written.
    Noise,
    /// A tensor that the sampler keeps between calls, `0..history_slots`. Written before it is read.
    History(usize),
}

/// `target = sum(coefficient * slot)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Slot to overwrite: [`Slot::Sample`] or [`Slot::History`].
    pub target: Slot,
    /// Addends, each slot at most once, six at most; coefficients are finite as `f32` and not zero.
    pub terms: Vec<(Slot, f64)>,
}

/// One evaluation of the UNet and what becomes of its result.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCall {
    /// Timestep for the UNet's time embedding; not always whole.
    pub timestep: f64,
    /// Noise level of the sample going in, as `sqrt((1 - alpha) / alpha)`; infinite at zero terminal SNR.
    pub sigma: f64,
    /// The UNet's input is the sample times this (diffusers' `scale_model_input`).
    pub input_scale: f64,
    /// What to compute after the call. All updates of a call read the slots as they were before any of them wrote.
    pub updates: Vec<Update>,
}

impl ModelCall {
    /// Factors of a clean sample and of standard normal noise whose sum can go into this call (diffusers' `add_noise`).
    /// The call's input, which is the sample times [`Self::input_scale`], has unit variance when both of them have.
    #[must_use]
    pub fn noised(&self) -> (f64, f64) {
        let (clean, noise) = (1.0 / 1.0_f64.hypot(self.sigma), 1.0 / 1.0_f64.hypot(1.0 / self.sigma));
        (clean / self.input_scale, noise / self.input_scale)
    }

    /// Whether [`Slot::Noise`] has to be drawn for this call.
    #[must_use]
    pub fn needs_noise(&self) -> bool {
        self.updates.iter().flat_map(|update| &update.terms).any(|(slot, _)| *slot == Slot::Noise)
    }
}

/// A whole sampling run.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    /// The first sample is standard normal noise times this.
    pub init_noise_sigma: f64,
    /// How many [`Slot::History`] tensors the run needs.
    pub history_slots: usize,
    /// The model calls in order. PNDM makes one more than it was asked steps for.
    pub calls: Vec<ModelCall>,
}

impl Sampler {
    /// Whether everything that reaches the GPU is finite there.
    pub(super) fn is_finite(&self) -> bool {
        let finite = |number: f64| (number as f32).is_finite();
        let call = |call: &ModelCall| {
            let mut coefficients =
                call.updates.iter().flat_map(|update| &update.terms).map(|(_, number)| *number);
            finite(call.timestep) && finite(call.input_scale) && coefficients.all(finite)
        };
        finite(self.init_noise_sigma) && self.calls.iter().all(call)
    }
}
