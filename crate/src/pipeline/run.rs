//! One picture in the making: pulled step by step, dropped to stop.

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::{Tensor, TensorData};

use super::init_latents::{DrawnLatents, InitLatents, KeptLatents};
use super::kept::{Kept, overlay};
use super::plan::Plan;
use super::{Given, InitImage, Numbers, Pipeline, PromptEmbeds, Request};
use crate::error::{Error, Result};
use crate::kernel::{Storage, sampler_step, to_rgb};
use crate::model::embeddings;
use crate::model::unet::{RunInputs, UNet2DConditionModel};
use crate::random::TorchGenerator;
use crate::sampler::{ModelCall, Sampler, SchedulerConfig, Slot};

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub index: usize,
    /// Steps of the run.
    pub total: usize,
    /// Timestep of the UNet call.
    pub timestep: f64,
    /// Noise level of the sample that went in.
    pub sigma: f64,
}

/// A denoising run over latents `[1, height*width, channels]`.
pub struct Run {
    shared: Rc<Shared>,
    generator: TorchGenerator,
    noise: std::collections::BTreeMap<usize, Numbers>,
    sample: Tensor<3>,
    /// What the UNet gets beside the sample.
    condition: Option<Tensor<3>>,
    kept: Option<Kept>,
    history: Vec<Tensor<3>>,
    done: usize,
}

/// What all pictures of one request have in common.
struct Shared {
    pipeline: Rc<Pipeline>,
    sampler: Sampler,
    prompt_embeds: PromptEmbeds,
    /// Made when the UNet needs them. Where no step is left, the decoder has their memory.
    inputs: RefCell<Option<RunInputs>>,
    timestep_cond: Option<Vec<f32>>,
    guidance_scale: Option<f64>,
    init_image: Option<InitImage>,
    init_latents: Option<InitLatents>,
    given: Given,
    channels: usize,
    height: usize,
    width: usize,
}

impl Run {
    /// Checks the request, encodes its prompts and its picture, and draws the first latents.
    ///
    /// # Errors
    /// [`Error::Parameter`], [`Error::Prompt`], [`Error::OutOfMemory`] for a size beyond the device, and those of the
    /// text encoder and of reading the picture encoder.
    pub async fn start(pipeline: Rc<Pipeline>, request: Request) -> Result<Self> {
        pipeline.hardware.forget_faults();
        let plan = Plan::new(&pipeline, &request)?;
        let stages = pipeline.in_memory(async || Box::pin(encode(&pipeline, &request, &plan)).await);
        let EncodedRequest { prompt_embeds, init_latents } = stages.await?;
        let Plan { height, width, sampler, guided, init_image, .. } = plan;
        let time_cond_proj_dim = pipeline.description().unet.time_cond_proj_dim;
        let shared = Shared {
            inputs: RefCell::default(),
            timestep_cond: time_cond_proj_dim
                .map(|width| embeddings::guidance_scale(request.guidance_scale - 1.0, width)),
            guidance_scale: guided.then_some(request.guidance_scale),
            init_image,
            init_latents,
            given: request.given,
            channels: pipeline.description().vae.latent_channels(),
            pipeline,
            sampler,
            prompt_embeds,
            height,
            width,
        };
        let prepare = async || {
            let unet = shared.pipeline.unet().await?;
            shared.inputs(&unet).await
        };
        shared.pipeline.in_memory(async || Box::pin(prepare()).await).await?;
        Ok(Self::seeded(Rc::new(shared), request.seed))
    }

    /// Another picture of the same request from another seed; the prompt is not encoded again.
    #[must_use]
    pub fn again(&self, seed: u64) -> Self {
        Self::seeded(Rc::clone(&self.shared), seed)
    }

    fn seeded(shared: Rc<Shared>, seed: u64) -> Self {
        let mut generator = TorchGenerator::manual_seed(seed);
        let DrawnLatents { sample, condition, kept } = shared.draw_latents(&mut generator);
        let sample = shared.upload(&sample);
        let kept = kept.map(|KeptLatents { image, noise, mask }| Kept {
            image: shared.upload(&image),
            noise: shared.upload(&noise),
            mask: shared.upload(&mask),
        });
        Self {
            condition: condition.map(|condition| shared.upload(&condition)),
            kept,
            history: vec![sample.clone(); shared.sampler.history_slots],
            noise: shared.given.noise.clone(),
            done: 0,
            shared,
            generator,
            sample,
        }
    }

    /// What of the prompts was left out, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.shared.prompt_embeds.warnings
    }

    /// Steps of the run: one more than asked for with PNDM.
    #[must_use]
    pub fn total(&self) -> usize {
        self.shared.sampler.calls.len()
    }

    /// The prompts' tokens and embeddings.
    #[must_use]
    pub fn prompt_embeds(&self) -> &PromptEmbeds {
        &self.shared.prompt_embeds
    }

    /// Height and width of the latents.
    #[must_use]
    pub fn latent_size(&self) -> (usize, usize) {
        (self.shared.height, self.shared.width)
    }

    /// Computes the next step; `None` when there is none left.
    ///
    /// # Errors
    /// [`Error::Gpu`], [`Error::DeviceLost`] or [`Error::OutOfMemory`], and those of the source where the UNet is read
    /// again; the run is of no use after that.
    pub async fn step(&mut self) -> Result<Option<StepReport>> {
        let Some(call) = self.shared.sampler.calls.get(self.done).cloned() else { return Ok(None) };
        // Drawn once, however often the step is computed.
        let noise = call.needs_noise().then(|| self.draw_noise());
        let shared = Rc::clone(&self.shared);
        let stepped = shared.pipeline.in_memory(async || self.stepped(&call, noise.as_deref()).await);
        (self.sample, self.history) = stepped.await?;
        self.done += 1;
        let (timestep, sigma) = (call.timestep, call.sigma);
        Ok(Some(StepReport { index: self.done, total: self.total(), timestep, sigma }))
    }

    /// What the UNet makes of the latents now, `[b, h*w, c]` with a guided batch's negative half first; the run does
    /// not go on. Nothing at its end.
    ///
    /// # Errors
    /// Those of [`crate::hardware::Hardware::read`].
    pub async fn model_output(&self) -> Result<Vec<f32>> {
        let Some(call) = self.shared.sampler.calls.get(self.done) else { return Ok(Vec::new()) };
        self.shared.pipeline.hardware.read(self.call_unet(call).await?).await
    }

    /// The sample and the history after `call`.
    async fn stepped(&self, call: &ModelCall, noise: Option<&[f32]>) -> Result<(Tensor<3>, Vec<Tensor<3>>)> {
        let output = self.call_unet(call).await?;
        let (mut sample, history) = self.updated(call, &output, noise)?;
        if let Some(kept) = &self.kept {
            sample = kept.around(sample, self.shared.sampler.calls.get(self.done + 1))?;
        }
        self.shared.pipeline.hardware.settle(&sample).await?;
        Ok((sample, history))
    }

    async fn call_unet(&self, call: &ModelCall) -> Result<Tensor<3>> {
        let mut x = self.sample.clone();
        if call.input_scale != 1.0 {
            x = combine(&[(x, call.input_scale)], None)?;
        }
        if let Some(condition) = &self.condition {
            x = Tensor::cat(vec![x, condition.clone()], 2);
        }
        if self.shared.guidance_scale.is_some() {
            x = Tensor::cat(vec![x.clone(), x], 0);
        }
        let Shared { pipeline, height, width, prompt_embeds, .. } = self.shared.as_ref();
        let unet = pipeline.unet().await?;
        let inputs = self.shared.inputs(&unet).await?;
        // Another run may have put its own there since.
        unet.install(&prompt_embeds.adapters.unet);
        Ok(unet.forward(x, *height, *width, &inputs, self.done))
    }

    fn updated(
        &self,
        call: &ModelCall,
        output: &Tensor<3>,
        noise: Option<&[f32]>,
    ) -> Result<(Tensor<3>, Vec<Tensor<3>>)> {
        let noise = noise.map(|noise| self.shared.upload(noise));
        let mut written = Vec::with_capacity(call.updates.len());
        for update in &call.updates {
            let mut terms = Vec::with_capacity(update.terms.len());
            let mut guidance_scale = None;
            for (slot, coefficient) in &update.terms {
                let tensor = match slot {
                    Slot::Sample => Some(self.sample.clone()),
                    Slot::ModelOutput => Some(output.clone()),
                    Slot::Noise => noise.clone(),
                    Slot::History(index) => self.history.get(*index).cloned(),
                };
                let tensor = tensor.ok_or_else(|| inconsistent("reads a slot that nothing filled"))?;
                if *slot == Slot::ModelOutput {
                    guidance_scale = self.shared.guidance_scale;
                    terms.insert(0, (tensor, *coefficient));
                } else {
                    terms.push((tensor, *coefficient));
                }
            }
            written.push((update.target, combine(&terms, guidance_scale)?));
        }
        let (mut sample, mut history) = (self.sample.clone(), self.history.clone());
        for (target, tensor) in written {
            match target {
                Slot::Sample => sample = tensor,
                Slot::History(index) if index < history.len() => history[index] = tensor,
                _ => return Err(inconsistent("writes a slot that it must not")),
            }
        }
        Ok((sample, history))
    }

    /// Planes of the next step's noise.
    fn draw_noise(&mut self) -> Vec<f32> {
        let count = self.shared.channels * self.shared.height * self.shared.width;
        let given = self.noise.remove(&self.done).map(|numbers| numbers.values);
        given.unwrap_or_else(|| self.generator.randn(count))
    }

    /// The latents now, `[1, c, h, w]` in row-major order.
    ///
    /// # Errors
    /// Those of [`crate::hardware::Hardware::read`].
    pub async fn latents(&self) -> Result<Vec<f32>> {
        let values = self.shared.pipeline.hardware.read(self.sample.clone()).await?;
        Ok(planes(&values, self.shared.channels))
    }

    /// The latents as colours, `[1, height*width, 3]` in 0..1: a preview of one pixel a latent.
    #[must_use]
    pub fn preview(&self) -> Tensor<3> {
        // Samplers over sigmas hold noise of variance sigma²; the next call's input has unit variance.
        let scale = self.shared.sampler.calls.get(self.done).map_or(1.0, |call| call.input_scale);
        to_rgb(self.sample.clone() * scale, &self.shared.pipeline.preview_map)
    }

    /// Decodes the latents to a picture, `[1, pixels, 3]` in 0..1. Over a masked picture it shows that picture's own
    /// pixels where the mask is 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] where activations in f16 overflowed, [`Error::NotFinite`] for other numbers that make no
    /// picture; those of [`crate::hardware::Hardware::settle`], and those of the source where the decoder is read again.
    pub async fn decode(&self) -> Result<Tensor<3>> {
        self.shared.pipeline.in_memory(async || self.decoded().await).await
    }

    /// Refuses latents, or a decoder's output, that would be a black picture: the maps to colours lose what is not finite.
    async fn check_finite(&self, decoded: Tensor<3>) -> Result<()> {
        let hardware = &self.shared.pipeline.hardware;
        let is_finite = async |tensor: Tensor<3>| -> Result<bool> {
            Ok(hardware.read(tensor).await?.iter().all(|value| value.is_finite()))
        };
        if !is_finite(self.sample.clone()).await? {
            return Err(self.latents_not_finite());
        }
        if !is_finite(decoded).await? {
            let reason = "the weights of the VAE are damaged; take another copy of the model";
            return Err(Error::NotFinite { reason: reason.into() });
        }
        Ok(())
    }

    /// What f16 cannot hold becomes an infinity, and spreads over the latents.
    fn latents_not_finite(&self) -> Error {
        if Storage::beside(&self.sample) == Storage::F16 {
            let reason = "cannot be f16: the model computes numbers that are too large for it; choose f32";
            return Error::Parameter { name: "precision".into(), reason: reason.into() };
        }
        let reason = "lower the guidance scale or the weights of LoRAs; where that does not help, the weights of the UNet \
                      or of a text encoder are damaged, and another copy of the model is needed";
        Error::NotFinite { reason: reason.into() }
    }

    async fn decoded(&self) -> Result<Tensor<3>> {
        let Shared { pipeline, height, width, init_image, inputs, .. } = self.shared.as_ref();
        let vae = pipeline.vae().await?;
        if self.done == self.total() {
            inputs.take();
        }
        // The UNet's activations are of no use to the decoder, whose own are the largest of a run.
        pipeline.hardware.free_unused();
        let decoded = vae.forward(self.sample.clone(), *height, *width);
        let mut picture = to_rgb(decoded.clone(), &pipeline.picture_map);
        if let Some(init_image) = init_image {
            picture = overlay(picture, init_image);
        }
        pipeline.hardware.settle(&picture).await?;
        self.check_finite(decoded).await?;
        Ok(picture)
    }
}

/// What a request's texts and picture come to.
struct EncodedRequest {
    prompt_embeds: PromptEmbeds,
    init_latents: Option<InitLatents>,
}

async fn encode(pipeline: &Pipeline, request: &Request, plan: &Plan) -> Result<EncodedRequest> {
    let negative = plan.guided.then_some(request.negative_prompt.as_str());
    let prompt_embeds = pipeline.encode(&request.prompt, negative).await?;
    let init_latents = match &plan.init_image {
        Some(image) => Some(InitLatents::encode(pipeline, image, plan.height, plan.width).await?),
        None => None,
    };
    // So that exhausted memory shows here, where it can be mended.
    pipeline.hardware.settle(&prompt_embeds.batch()).await?;
    Ok(EncodedRequest { prompt_embeds, init_latents })
}

impl Shared {
    /// What all calls of `unet` need.
    async fn inputs(&self, unet: &UNet2DConditionModel) -> Result<RunInputs> {
        if let Some(inputs) = self.inputs.borrow().clone() {
            return Ok(inputs);
        }
        let timesteps: Vec<f64> = self.sampler.calls.iter().map(|call| call.timestep).collect();
        let factor = self.pipeline.description().vae.factor();
        let added_cond = self.prompt_embeds.added_cond(self.height * factor, self.width * factor);
        let text = self.prompt_embeds.batch();
        unet.install(&self.prompt_embeds.adapters.unet);
        let inputs = unet.prepare(&text, &timesteps, self.timestep_cond.as_deref(), added_cond.as_ref());
        // So that exhausted memory shows before they are kept.
        self.pipeline.hardware.settle(&text).await?;
        self.inputs.replace(Some(inputs.clone()));
        Ok(inputs)
    }

    /// The first latents of the generator's seed.
    fn draw_latents(&self, generator: &mut TorchGenerator) -> DrawnLatents {
        let given = self.given.latents.as_ref().map(|numbers| numbers.values.clone());
        let count = self.channels * self.height * self.width;
        let noise = |generator: &mut TorchGenerator| given.unwrap_or_else(|| generator.randn(count));
        if let Some(init_latents) = &self.init_latents {
            return init_latents.draw(&self.sampler, generator, noise);
        }
        let scale = self.sampler.init_noise_sigma as f32;
        let sample = noise(generator).iter().map(|value| value * scale).collect();
        DrawnLatents { sample, condition: None, kept: None }
    }

    /// Planes `[c, pixels]` to a tensor `[1, pixels, c]`.
    fn upload(&self, planes: &[f32]) -> Tensor<3> {
        let pixels = self.height * self.width;
        let channels = planes.len() / pixels;
        let mut values = vec![0.0; planes.len()];
        for (c, plane) in planes.chunks_exact(pixels).enumerate() {
            for (pixel, value) in plane.iter().enumerate() {
                values[pixel * channels + c] = *value;
            }
        }
        let data = TensorData::new(values, [1, pixels, channels]);
        Tensor::from_data(data, self.pipeline.hardware.device())
    }
}

/// `[pixels, c]` to planes `[c, pixels]`.
#[must_use]
pub fn planes(values: &[f32], channels: usize) -> Vec<f32> {
    let pixels = values.len() / channels;
    let mut planes = vec![0.0; values.len()];
    for (pixel, colours) in values.chunks_exact(channels).enumerate() {
        for (c, value) in colours.iter().enumerate() {
            planes[c * pixels + pixel] = *value;
        }
    }
    planes
}

pub(super) fn combine(terms: &[(Tensor<3>, f64)], guidance_scale: Option<f64>) -> Result<Tensor<3>> {
    sampler_step(terms, guidance_scale).ok_or_else(|| inconsistent("has no term or too many"))
}

fn inconsistent(reason: &str) -> Error {
    Error::Config {
        file: SchedulerConfig::FILE.into(),
        field: "_class_name".into(),
        reason: format!("leads to a step that {reason}"),
    }
}
