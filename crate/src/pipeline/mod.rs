//! From a model's files to a picture: load, encode the prompt, denoise step by step, decode.

mod init_image;
mod init_latents;
mod kept;
mod lora;
mod lora_fit;
mod part;
mod plan;
mod prepare;
mod preview;
mod request;
mod resident;
mod run;
mod text;
mod text_encoders;

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use burn::tensor::{Tensor, TensorData};
use resident::Resident;

use crate::config::{self, ClipTextConfig, ModelIndex, UNet2DConditionConfig, VaeConfig};
use crate::error::{Error, Result};
use crate::hardware::Hardware;
use crate::model::unet::UNet2DConditionModel;
use crate::model::vae::{VaeDecoder, VaeEncoder};
use crate::sampler::{SamplerKind, SchedulerConfig};
use crate::tokenizer::Tokenizer;
use crate::weights::Prefer;
use crate::weights::source::{MAX_CONFIG_BYTES, Source, read_to_string};

pub use init_image::InitImage;
pub use lora::LoraReport;
pub use part::{Loading, Part};
pub use prepare::{Memory, Preparation};
pub use request::{Given, Numbers, Request};
pub use run::{Run, StepReport, planes};
pub use text::{Encoded, PromptEmbeds};
use text_encoders::{Files, TextEncoders};

/// Sizes of a model's pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Pixels per latent, along a side; width and height are multiples of it.
    pub factor: usize,
    /// Width that the model was trained on.
    pub width: usize,
    /// Height that the model was trained on.
    pub height: usize,
}

async fn read_scheduler(source: &dyn Source, index: &ModelIndex) -> Result<SchedulerConfig> {
    let file = SchedulerConfig::FILE;
    let text = read_to_string(source, file, MAX_CONFIG_BYTES).await?;
    let mut config =
        SchedulerConfig::from_json(&text.ok_or_else(|| Error::FileNotFound { file: file.into() })?)?;
    config.keeps_steps_offset = index.is_xl();
    Ok(config)
}

/// Parameters to use where the user gives none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// Sampler steps.
    pub steps: usize,
    /// Guidance scale.
    pub guidance_scale: f64,
}

/// The configuration of a model: everything but its weights.
#[derive(Debug, Clone)]
pub struct Description {
    /// `model_index.json`.
    pub index: ModelIndex,
    /// `scheduler/scheduler_config.json`.
    pub scheduler: SchedulerConfig,
    /// `text_encoder/config.json`.
    pub text_encoder: ClipTextConfig,
    /// `text_encoder_2/config.json` of the SDXL family.
    pub text_encoder_2: Option<ClipTextConfig>,
    /// `unet/config.json`.
    pub unet: UNet2DConditionConfig,
    /// `vae/config.json`.
    pub vae: VaeConfig,
}

impl Description {
    /// Reads and checks every config of a model in diffusers layout.
    ///
    /// # Errors
    /// [`crate::error::Error`] that names the file and the field.
    pub async fn read(source: &dyn Source) -> Result<Self> {
        let index: ModelIndex = config::load(source, ModelIndex::FILE).await?;
        let vae_class = index.class("vae").unwrap_or_default().to_owned();
        let description = Self {
            scheduler: read_scheduler(source, &index).await?,
            text_encoder: ClipTextConfig::load(source, "text_encoder/config.json").await?,
            text_encoder_2: if index.is_xl() {
                Some(ClipTextConfig::load(source, "text_encoder_2/config.json").await?)
            } else {
                None
            },
            unet: config::load(source, "unet/config.json").await?,
            vae: VaeConfig::load(source, "vae/config.json", &vae_class).await?,
            index,
        };
        description.check()?;
        Ok(description)
    }

    /// The parts fit each other.
    fn check(&self) -> Result<()> {
        let latent_channels = ("the vae's latent_channels", self.vae.latent_channels());
        // How many channels go in follows from that, with or without those for inpainting.
        fits("out_channels", self.unet.out_channels, latent_channels)?;
        let hidden_size = self.text_encoder.hidden_size;
        let text_width = match &self.text_encoder_2 {
            None => ("the text encoder's hidden_size", hidden_size),
            Some(second) => ("the text encoders' hidden_size together", hidden_size + second.hidden_size),
        };
        fits("cross_attention_dim", self.unet.text_width(), text_width)?;
        self.check_addition()
    }

    /// Pipelines with two text encoders, and no others, have a UNet that is told a pooled text and sizes.
    fn check_addition(&self) -> Result<()> {
        let (unet, second) = (&self.unet, &self.text_encoder_2);
        if unet.takes_text_time() != second.is_some() {
            let found = unet.addition_embed_type.as_deref().unwrap_or("null");
            let reason = format!("is {found}, which does not go with a {}", self.index.class_name);
            return Err(unet_error("addition_embed_type", reason));
        }
        let (Some(second), Some(found)) = (second, unet.projection_class_embeddings_input_dim) else {
            return Ok(());
        };
        let expected = 6 * unet.addition_time_embed_dim.unwrap_or_default() + second.projection_dim;
        let name = "6 times addition_time_embed_dim with text_encoder_2's projection_dim";
        fits("projection_class_embeddings_input_dim", found, (name, expected))
    }

    /// The model's tokenizers: one for each text encoder.
    ///
    /// # Errors
    /// Those of [`Tokenizer::load`]; [`Error::Config`] when the two take different numbers of tokens.
    pub async fn tokenizers(&self, source: &dyn Source) -> Result<(Tokenizer, Option<Tokenizer>)> {
        let positions = self.text_encoder.max_position_embeddings;
        let tokenizer = Tokenizer::load(source, Part::Tokenizer.folder(), positions).await?;
        let Some(config) = &self.text_encoder_2 else { return Ok((tokenizer, None)) };
        let folder = Part::Tokenizer2.folder();
        let tokenizer_2 = Tokenizer::load(source, folder, config.max_position_embeddings).await?;
        let (first, second) = (tokenizer.max_length(), tokenizer_2.max_length());
        if first != second {
            return Err(Error::Config {
                file: format!("{folder}/tokenizer_config.json"),
                field: "model_max_length".into(),
                reason: format!("leads to texts of {second} tokens, but the first tokenizer's have {first}"),
            });
        }
        Ok((tokenizer, Some(tokenizer_2)))
    }

    /// The parts that loading reads, in its order.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let xl = self.text_encoder_2.is_some();
        Part::ALL.into_iter().filter(|part| xl || !part.is_second()).collect()
    }

    /// What pictures the model makes; 64 latents a side where the config does not say.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let factor = self.vae.factor();
        let [height, width] = self.unet.sample_size().unwrap_or([64, 64]);
        Sizes { factor, width: width * factor, height: height * factor }
    }

    /// The sampler that the model's scheduler config names; `None` where Easel has no such sampler.
    /// A scheduler that Easel lacks, but over the same noise schedule, is replaced by DDIM.
    #[must_use]
    pub fn sampler(&self) -> Option<SamplerKind> {
        self.scheduler.kind().or_else(|| self.scheduler.is_compatible().then_some(SamplerKind::Ddim))
    }

    /// The class of the model's own scheduler, where [`Self::sampler`] takes its place.
    #[must_use]
    pub fn replaced_scheduler(&self) -> Option<&str> {
        self.scheduler.class_name.as_deref().filter(|_| self.scheduler.kind().is_none())
    }

    /// What to use where the user says nothing: few steps for distilled models, the family's habit otherwise.
    #[must_use]
    pub fn defaults(&self) -> Defaults {
        let usual = self.usual_defaults();
        let own = self.index.defaults;
        Defaults {
            steps: own.num_inference_steps.unwrap_or(usual.steps),
            guidance_scale: own.guidance_scale.unwrap_or(usual.guidance_scale),
        }
    }

    /// What suits models of this kind.
    fn usual_defaults(&self) -> Defaults {
        match (self.guidance_is_embedded(), self.sampler()) {
            (true, _) => Defaults { steps: 4, guidance_scale: 8.5 },
            // A consistency model without the embedding is one with a merged LoRA: real guidance, and little of it.
            (false, Some(SamplerKind::Lcm)) => Defaults { steps: 4, guidance_scale: 1.5 },
            // Turbo models are distilled with guidance in them.
            (false, _) if self.scheduler.is_turbo() => Defaults { steps: 4, guidance_scale: 1.0 },
            (false, _) if self.index.is_xl() => Defaults { steps: 20, guidance_scale: 5.0 },
            (false, _) => Defaults { steps: 20, guidance_scale: 7.5 },
        }
    }

    /// Whether the UNet also gets a mask and the latents of a masked picture (a model for inpainting). Without a picture
    /// such a model draws as if all of it were masked.
    #[must_use]
    pub fn inpaints(&self) -> bool {
        self.unet.inpaints()
    }

    /// Whether guidance is an input of the UNet (LCM) and not a second pass.
    #[must_use]
    pub fn guidance_is_embedded(&self) -> bool {
        self.unet.time_cond_proj_dim.is_some()
    }
}

fn unet_error(field: &str, reason: String) -> Error {
    Error::Config { file: "unet/config.json".into(), field: field.into(), reason }
}

/// A field of the UNet's config is what other parts make it.
fn fits(field: &str, found: usize, (other, expected): (&str, usize)) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(unet_error(field, format!("is {found}, but {other} is {expected}")))
}

/// A loaded text-to-image model, diffusers' `StableDiffusionPipeline` or `StableDiffusionXLPipeline`.
pub struct Pipeline {
    source: Box<dyn Source>,
    hardware: Rc<Hardware>,
    description: Description,
    text_encoders: TextEncoders,
    unet: Resident<UNet2DConditionModel>,
    vae: Resident<VaeDecoder>,
    vae_encoder: Resident<VaeEncoder>,
    prefer: Prefer,
    preview_map: Tensor<2>,
    picture_map: Tensor<2>,
    prepared: RefCell<HashSet<prepare::Shape>>,
    loras: RefCell<lora::Loras>,
}

impl Pipeline {
    /// Loads the model of `source` onto `hardware`; `progress` hears of every part before it is read.
    ///
    /// # Errors
    /// Those of [`Description::read`] and of the parts' weights.
    pub async fn load(
        source: Box<dyn Source>,
        hardware: Rc<Hardware>,
        prefer: Prefer,
        mut progress: impl FnMut(Loading),
    ) -> Result<Self> {
        let description = Description::read(source.as_ref()).await?;
        let parts = description.parts();
        let mut report = |part: Part| {
            let done = parts.iter().position(|other| *other == part).unwrap_or_default();
            progress(Loading { part, done, total: parts.len() });
        };
        let text_encoders = TextEncoders::open(source.as_ref(), &description, &mut report).await?;
        let mut pipeline = Self {
            source,
            hardware: Rc::clone(&hardware),
            description,
            text_encoders,
            unet: Resident::absent(),
            vae: Resident::absent(),
            vae_encoder: Resident::absent(),
            prefer,
            preview_map: map_to_device(&preview::PICTURE, &hardware),
            picture_map: map_to_device(&preview::PICTURE, &hardware),
            prepared: RefCell::default(),
            loras: RefCell::default(),
        };
        pipeline.preview_map = pipeline.in_memory(async || pipeline.read_parts(&mut report).await).await?;
        Ok(pipeline)
    }

    /// Reads all weights, also where they are read again later: damage is to be found now. The preview's map follows from
    /// them.
    async fn read_parts(&self, report: &mut impl FnMut(Part)) -> Result<Tensor<2>> {
        self.text_encoders.read(&self.files(), &mut *report).await?;
        report(Part::Unet);
        self.unet().await?;
        report(Part::Vae);
        let vae = self.vae().await?;
        let preview_map = preview::map(&vae, self.description.index.is_xl(), &self.hardware).await?;
        self.hardware.settle(&preview_map).await?;
        Ok(preview_map)
    }

    fn files(&self) -> Files<'_> {
        Files { source: self.source.as_ref(), prefer: self.prefer, device: self.hardware.device() }
    }

    /// The model's configs.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What the model is usually asked for, with an empty prompt.
    #[must_use]
    pub fn usual_request(&self) -> Request {
        let (sizes, defaults) = (self.description.sizes(), self.description.defaults());
        Request {
            prompt: String::new(),
            negative_prompt: String::new(),
            steps: defaults.steps,
            guidance_scale: defaults.guidance_scale,
            sampler: None,
            seed: 0,
            width: sizes.width,
            height: sizes.height,
            init_image: None,
            given: Given::default(),
        }
    }

    /// The device that it runs on.
    #[must_use]
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// The tokenizer of its first text encoder.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        self.text_encoders.tokenizer()
    }
}

/// A `[channels + 1, 3]` map of [`crate::kernel::to_rgb`] on the device.
fn map_to_device(map: &[[f32; 3]], hardware: &Hardware) -> Tensor<2> {
    Tensor::from_data(TensorData::new(map.as_flattened().to_vec(), [map.len(), 3]), hardware.device())
}
