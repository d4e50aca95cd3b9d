//! Before the first step: how this adapter computes the model's products best, and every pipeline compiled.

use std::rc::Rc;
use std::time::Duration;

use burn::tensor::Tensor;

use super::lora::{RunAdapters, ids};
use super::plan::Plan;
use super::run::combine;
use super::{Pipeline, PromptEmbeds, Request};
use crate::error::Result;
use crate::kernel::rehearsal::{Rehearsal, rehearse};
use crate::kernel::{to_rgb, tune};
use crate::model::embeddings;
use crate::sampler::{ModelCall, Slot};

/// What keeps a run waiting before its first step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparation {
    /// Timing ways to compute products: of `total` classes, `done` are decided.
    Measuring {
        /// Classes decided.
        done: usize,
        /// Classes to decide.
        total: usize,
    },
    /// Compiling: of `total` pipelines, `done` are ready.
    Compiling {
        /// Pipelines ready.
        done: usize,
        /// Pipelines to compile.
        total: usize,
    },
}

/// What the GPU holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// During the steps.
    pub steps: u64,
    /// During the decoding.
    pub decoding: u64,
}

/// What decides which pipelines a run needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    height: usize,
    width: usize,
    guided: bool,
    calls: usize,
    /// Terms of the sampler's updates, and whether the model's output is among them.
    updates: Vec<(usize, bool)>,
    loras: Vec<usize>,
}

impl Shape {
    fn of(plan: &Plan) -> Self {
        let mut updates: Vec<_> = plan.sampler.calls.iter().flat_map(updates).collect();
        updates.sort_unstable();
        updates.dedup();
        let Plan { height, width, guided, ref sampler, ref loras } = *plan;
        Self { height, width, guided, calls: sampler.calls.len(), updates, loras: ids(loras) }
    }
}

fn updates(call: &ModelCall) -> impl Iterator<Item = (usize, bool)> {
    let scaled = (call.input_scale != 1.0).then_some((1, false));
    let reads_output = |terms: &[(Slot, f64)]| terms.iter().any(|(slot, _)| *slot == Slot::ModelOutput);
    let made = call.updates.iter().map(move |update| (update.terms.len(), reads_output(&update.terms)));
    scaled.into_iter().chain(made)
}

impl Pipeline {
    /// Compiles every pipeline that a run of `request` uses, and on an adapter's first use times the strategies of
    /// the model's products before, for at most [`tune::BUDGET`]. What an earlier request prepared is not done again;
    /// a run that was not prepared compiles as it goes. On the CPU there is nothing to do.
    ///
    /// # Errors
    /// Those of [`super::Run::start`] for a request that cannot be run, and those of the device.
    pub async fn prepare(&self, request: &Request, mut progress: impl FnMut(Preparation)) -> Result<()> {
        self.hardware.forget_faults();
        let plan = Plan::new(self, request)?;
        let shape = Shape::of(&plan);
        if self.hardware.setup().is_none() || self.prepared.borrow().contains(&shape) {
            return Ok(());
        }
        let adapters = self.adapters(&plan.loras).await?;
        let mut rehearsal = self.rehearse(&shape, &adapters);
        let measuring = |done, total| progress(Preparation::Measuring { done, total });
        self.hardware.free_unused();
        if self.hardware.tune(&rehearsal, tune::BUDGET, measuring).await? {
            self.hardware.free_unused();
            rehearsal = self.rehearse(&shape, &adapters);
        }
        let compiling = |done, total| progress(Preparation::Compiling { done, total });
        self.hardware.compile(&rehearsal, compiling).await?;
        self.hardware.free_unused();
        self.prepared.borrow_mut().insert(shape);
        Ok(())
    }

    /// Times the strategies of the model's products at its usual request, for at most `budget`.
    ///
    /// # Errors
    /// Those of [`Self::prepare`].
    pub async fn tune(&self, budget: Duration) -> Result<()> {
        let plan = Plan::new(self, &self.usual_request())?;
        let rehearsal = self.rehearse(&Shape::of(&plan), &Rc::default());
        self.hardware.tune(&rehearsal, budget, |_, _| ()).await?;
        Ok(())
    }

    /// Bytes that the GPU holds during the steps, and during the decoding, of the model's usual request: its weights and
    /// whatever else is loaded included. Memory is taken as a run takes it, and nothing is computed.
    ///
    /// # Errors
    /// Those of [`Self::prepare`].
    pub fn memory(&self) -> Result<Memory> {
        let shape = Shape::of(&Plan::new(self, &self.usual_request())?);
        rehearse(|| self.rehearse_steps(&shape, &Rc::default()));
        let steps = self.hardware.gpu_bytes();
        self.hardware.free_unused();
        rehearse(|| self.rehearse_decoding(&shape));
        Ok(Memory { steps, decoding: self.hardware.gpu_bytes() })
    }

    /// What a run of `shape` launches.
    fn rehearse(&self, shape: &Shape, adapters: &Rc<RunAdapters>) -> Rehearsal {
        rehearse(|| {
            self.rehearse_steps(shape, adapters);
            self.hardware.free_unused();
            self.rehearse_decoding(shape);
        })
    }

    fn rehearse_steps(&self, shape: &Shape, adapters: &Rc<RunAdapters>) {
        self.install(adapters);
        let description = self.description();
        let device = self.hardware.device();
        let batch = 1 + usize::from(shape.guided);
        let cond = description.unet.time_cond_proj_dim.map(|width| embeddings::guidance_scale(0.0, width));
        let prompt = self.text_encoders.rehearse(device);
        let negative = shape.guided.then(|| prompt.clone());
        let text = PromptEmbeds { prompt, negative, warnings: Vec::new(), adapters: Rc::clone(adapters) };
        let added_cond = text.added_cond(shape.height, shape.width);
        let timesteps = vec![0.0; shape.calls];
        let inputs = self.unet.prepare(&text.batch(), &timesteps, cond.as_deref(), added_cond.as_ref());
        let latents = self.blank_latents(shape);
        let sample = latents.clone().repeat_dim(0, batch);
        let output = self.unet.forward(sample, shape.height, shape.width, &inputs, 0);
        for (count, reads_output) in &shape.updates {
            let mut terms = vec![(latents.clone(), 1.0); *count];
            if *reads_output && let Some(first) = terms.first_mut() {
                first.0 = output.clone();
            }
            // The sampler's own checks keep the number of terms in bounds; nothing is compiled for none.
            let _ = combine(&terms, (*reads_output && shape.guided).then_some(1.0));
        }
        let _ = to_rgb(latents, &self.preview_map);
    }

    fn rehearse_decoding(&self, shape: &Shape) {
        let picture = self.decode(self.blank_latents(shape), shape.height, shape.width);
        let _ = to_rgb(picture, &self.picture_map);
    }

    fn blank_latents(&self, shape: &Shape) -> Tensor<3> {
        let channels = self.description.vae.latent_channels();
        Tensor::zeros([1, shape.height * shape.width, channels], self.hardware.device())
    }
}
