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
use crate::kernel::{blend, to_rgb, tune};
use crate::model::embeddings;
use crate::model::unet::UNet2DConditionModel;
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

/// The most that the GPU holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// While texts are encoded.
    pub texts: u64,
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
    /// Whether a picture is encoded, and what its mask is for.
    encodes: bool,
    mask: Mask,
    /// Terms of the sampler's updates, and whether the model's output is among them.
    updates: Vec<(usize, bool)>,
    loras: Vec<usize>,
}

/// What a picture is put back around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mask {
    None,
    /// The finished picture: the model has inputs for the mask.
    Picture,
    /// And the latents after every call.
    Latents,
}

impl Shape {
    fn of(plan: &Plan, inpaints: bool) -> Self {
        let mut updates: Vec<_> = plan.sampler.calls.iter().flat_map(updates).collect();
        let has_mask = plan.init_image.as_ref().is_some_and(|image| image.mask_image.is_some());
        let mask = match (has_mask, inpaints) {
            (false, _) => Mask::None,
            (true, true) => Mask::Picture,
            (true, false) => Mask::Latents,
        };
        if mask == Mask::Latents {
            // The picture's latents and their noise.
            updates.push((2, false));
        }
        updates.sort_unstable();
        updates.dedup();
        let Plan { height, width, guided, ref sampler, ref init_image, ref loras } = *plan;
        let (calls, loras) = (sampler.calls.len(), ids(loras));
        Self { height, width, guided, calls, encodes: init_image.is_some(), mask, updates, loras }
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
        let shape = Shape::of(&plan, self.description.inpaints());
        if self.hardware.setup().is_none() || self.prepared.borrow().contains(&shape) {
            return Ok(());
        }
        self.in_memory(async || self.prepare_shape(&shape, &plan, &mut progress).await).await?;
        self.prepared.borrow_mut().insert(shape);
        Ok(())
    }

    async fn prepare_shape(
        &self,
        shape: &Shape,
        plan: &Plan,
        progress: &mut impl FnMut(Preparation),
    ) -> Result<()> {
        let adapters = self.adapters(&plan.loras).await?;
        let mut rehearsal = self.rehearse(shape, &adapters).await?;
        let measuring = |done, total| progress(Preparation::Measuring { done, total });
        self.hardware.free_unused();
        if self.hardware.tune(&rehearsal, tune::BUDGET, measuring).await? {
            self.hardware.free_unused();
            rehearsal = self.rehearse(shape, &adapters).await?;
        }
        let compiling = |done, total| progress(Preparation::Compiling { done, total });
        self.hardware.compile(&rehearsal, compiling).await?;
        self.hardware.free_unused();
        Ok(())
    }

    /// Times the strategies of the model's products at its usual request, for at most `budget`.
    ///
    /// # Errors
    /// Those of [`Self::prepare`].
    pub async fn tune(&self, budget: Duration) -> Result<()> {
        let rehearsal = self.rehearse(&self.usual_shape()?, &Rc::default()).await?;
        self.hardware.tune(&rehearsal, budget, |_, _| ()).await?;
        Ok(())
    }

    /// The most bytes that the GPU holds in the stages of the model's usual request: the weights that are there then
    /// included. Memory is taken as a run takes it, and nothing is computed.
    ///
    /// # Errors
    /// Those of [`Self::prepare`].
    pub async fn memory(&self) -> Result<Memory> {
        let shape = self.usual_shape()?;
        let _ = self.hardware.take_most_gpu_bytes();
        let (_, text) = self.rehearse_text(&shape, &Rc::default()).await?;
        let texts = self.hardware.take_most_gpu_bytes();
        self.rehearse_steps(&shape, &text).await?;
        let steps = self.hardware.take_most_gpu_bytes();
        self.rehearse_decoding(&shape).await?;
        Ok(Memory { texts, steps, decoding: self.hardware.take_most_gpu_bytes() })
    }

    fn usual_shape(&self) -> Result<Shape> {
        Ok(Shape::of(&Plan::new(self, &self.usual_request())?, self.description.inpaints()))
    }

    /// What a run of `shape` launches, stage by stage.
    async fn rehearse(&self, shape: &Shape, adapters: &Rc<RunAdapters>) -> Result<Rehearsal> {
        let (seen, text) = self.rehearse_text(shape, adapters).await?;
        let encoding =
            if shape.encodes { self.rehearse_encoding(shape).await? } else { Rehearsal::default() };
        let steps = self.rehearse_steps(shape, &text).await?;
        Ok(seen.and(encoding).and(steps).and(self.rehearse_decoding(shape).await?))
    }

    async fn rehearse_text(
        &self,
        shape: &Shape,
        adapters: &Rc<RunAdapters>,
    ) -> Result<(Rehearsal, PromptEmbeds)> {
        self.read_text_encoders().await?;
        self.install(adapters);
        let device = self.hardware.device();
        let mut prompt = None;
        let seen = rehearse(|| prompt = self.text_encoders.rehearse(device));
        self.hardware.free_unused();
        let Some(prompt) = prompt else { unreachable!("they were read, and nothing waited since") };
        let negative = shape.guided.then(|| prompt.clone());
        Ok((seen, PromptEmbeds { prompt, negative, warnings: Vec::new(), adapters: Rc::clone(adapters) }))
    }

    async fn rehearse_encoding(&self, shape: &Shape) -> Result<Rehearsal> {
        let encoder = self.vae_encoder().await?;
        let (height, width) = self.picture_size(shape);
        let picture = Tensor::zeros([1, height * width, 3], self.hardware.device());
        let seen = rehearse(|| drop(encoder.forward(picture, height, width)));
        self.hardware.free_unused();
        Ok(seen)
    }

    async fn rehearse_steps(&self, shape: &Shape, text: &PromptEmbeds) -> Result<Rehearsal> {
        let unet = self.unet().await?;
        unet.install(&text.adapters.unet);
        let seen = rehearse(|| self.rehearse_calls(&unet, shape, text));
        self.hardware.free_unused();
        Ok(seen)
    }

    fn rehearse_calls(&self, unet: &UNet2DConditionModel, shape: &Shape, text: &PromptEmbeds) {
        let description = self.description();
        let batch = 1 + usize::from(shape.guided);
        let cond = description.unet.time_cond_proj_dim.map(|width| embeddings::guidance_scale(0.0, width));
        let added_cond = text.added_cond(shape.height, shape.width);
        let timesteps = vec![0.0; shape.calls];
        let inputs = unet.prepare(&text.batch(), &timesteps, cond.as_deref(), added_cond.as_ref());
        let latents = self.blank_latents(shape);
        let sample = self.blank(shape, description.unet.in_channels).repeat_dim(0, batch);
        let output = unet.forward(sample, shape.height, shape.width, &inputs, 0);
        for (count, reads_output) in &shape.updates {
            let mut terms = vec![(latents.clone(), 1.0); *count];
            if *reads_output && let Some(first) = terms.first_mut() {
                first.0 = output.clone();
            }
            // The sampler's own checks keep the number of terms in bounds; nothing is compiled for none.
            let _ = combine(&terms, (*reads_output && shape.guided).then_some(1.0));
        }
        if shape.mask == Mask::Latents {
            let _ = blend(latents.clone(), latents.clone(), &self.blank(shape, 1));
        }
        let _ = to_rgb(latents, &self.preview_map);
    }

    async fn rehearse_decoding(&self, shape: &Shape) -> Result<Rehearsal> {
        let vae = self.vae().await?;
        let (height, width) = self.picture_size(shape);
        Ok(rehearse(|| {
            let latents = self.blank_latents(shape);
            let picture = vae.forward(latents, shape.height, shape.width);
            let picture = to_rgb(picture, &self.picture_map);
            if shape.mask != Mask::None {
                let mask = Tensor::zeros([1, height * width, 1], self.hardware.device());
                let _ = blend(picture.clone(), picture, &mask);
            }
        }))
    }

    fn picture_size(&self, shape: &Shape) -> (usize, usize) {
        let factor = self.description.vae.factor();
        (shape.height * factor, shape.width * factor)
    }

    fn blank_latents(&self, shape: &Shape) -> Tensor<3> {
        self.blank(shape, self.description.vae.latent_channels())
    }

    fn blank(&self, shape: &Shape, channels: usize) -> Tensor<3> {
        Tensor::zeros([1, shape.height * shape.width, channels], self.hardware.device())
    }
}
