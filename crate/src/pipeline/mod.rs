//! From a model's files to a picture: load, encode the prompt, denoise step by step, decode.

mod plan;
mod prepare;
mod preview;
mod request;
mod run;
mod text;

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use burn::tensor::{Tensor, TensorData};

use crate::config::{self, ClipTextConfig, ModelIndex, UNet2DConditionConfig, VaeConfig};
use crate::error::{Error, Result};
use crate::hardware::Hardware;
use crate::model::clip::ClipTextModel;
use crate::model::unet::UNet2DConditionModel;
use crate::model::vae::VaeDecoder;
use crate::sampler::{SamplerKind, SchedulerConfig};
use crate::tokenizer::Tokenizer;
use crate::weights::Prefer;
use crate::weights::source::{MAX_CONFIG_BYTES, Source, read_to_string};

pub use prepare::{Memory, Preparation};
pub use request::{Given, Numbers, Request};
pub use run::{Run, StepReport, planes};
pub use text::{Encoded, PromptEmbeds};

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

async fn read_scheduler(source: &dyn Source) -> Result<SchedulerConfig> {
    let file = SchedulerConfig::FILE;
    let text = read_to_string(source, file, MAX_CONFIG_BYTES).await?;
    SchedulerConfig::from_json(&text.ok_or_else(|| Error::FileNotFound { file: file.into() })?)
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
            scheduler: read_scheduler(source).await?,
            text_encoder: ClipTextConfig::load(source, "text_encoder/config.json").await?,
            unet: config::load(source, "unet/config.json").await?,
            vae: VaeConfig::load(source, "vae/config.json", &vae_class).await?,
            index,
        };
        description.check()?;
        Ok(description)
    }

    /// The parts fit each other.
    fn check(&self) -> Result<()> {
        let fits = [
            ("in_channels", self.unet.in_channels, "vae's latent_channels", self.vae.latent_channels()),
            ("out_channels", self.unet.out_channels, "vae's latent_channels", self.vae.latent_channels()),
            (
                "cross_attention_dim",
                self.unet.text_width(),
                "text encoder's hidden_size",
                self.text_encoder.hidden_size,
            ),
        ];
        for (field, found, other, expected) in fits {
            if found != expected {
                return Err(Error::Config {
                    file: "unet/config.json".into(),
                    field: field.into(),
                    reason: format!("is {found}, but the {other} is {expected}"),
                });
            }
        }
        Ok(())
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

    /// What to use where the user says nothing: few steps for distilled models, the family's habit otherwise.
    #[must_use]
    pub fn defaults(&self) -> Defaults {
        match (self.guidance_is_embedded(), self.sampler()) {
            (true, _) => Defaults { steps: 4, guidance_scale: 8.5 },
            // A consistency model without the embedding is one with a merged LoRA: real guidance, and little of it.
            (false, Some(SamplerKind::Lcm)) => Defaults { steps: 4, guidance_scale: 1.5 },
            // Turbo models are distilled with guidance in them.
            (false, _) if self.scheduler.is_turbo() => Defaults { steps: 4, guidance_scale: 1.0 },
            (false, _) => Defaults { steps: 20, guidance_scale: 7.5 },
        }
    }

    /// Whether guidance is an input of the UNet (LCM) and not a second pass.
    #[must_use]
    pub fn guidance_is_embedded(&self) -> bool {
        self.unet.time_cond_proj_dim.is_some()
    }
}

/// A part of the model, as loading reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Vocabulary and merges.
    Tokenizer,
    /// The text encoder.
    TextEncoder,
    /// The denoiser.
    Unet,
    /// The picture decoder.
    Vae,
}

impl Part {
    /// Every part in the order of loading.
    pub const ALL: [Self; 4] = [Self::Tokenizer, Self::TextEncoder, Self::Unet, Self::Vae];

    /// Name of its folder.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Tokenizer => "tokenizer",
            Self::TextEncoder => "text_encoder",
            Self::Unet => "unet",
            Self::Vae => "vae",
        }
    }
}

/// A loaded text-to-image model, diffusers' `StableDiffusionPipeline`.
pub struct Pipeline {
    source: Box<dyn Source>,
    hardware: Rc<Hardware>,
    description: Description,
    tokenizer: Tokenizer,
    text_encoder: ClipTextModel,
    unet: UNet2DConditionModel,
    vae: VaeDecoder,
    preview_map: Tensor<2>,
    picture_map: Tensor<2>,
    prepared: RefCell<HashSet<prepare::Shape>>,
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
        mut progress: impl FnMut(Part),
    ) -> Result<Self> {
        let files = source.as_ref();
        let device = hardware.device();
        let description = Description::read(files).await?;
        // Boxed, all parts: futures this large fill a thread's stack.
        progress(Part::Tokenizer);
        let positions = description.text_encoder.max_position_embeddings;
        let tokenizer = Tokenizer::load(files, Part::Tokenizer.folder(), positions).await?;
        progress(Part::TextEncoder);
        let folder = Part::TextEncoder.folder();
        let text_encoder =
            ClipTextModel::load(files, folder, prefer, description.text_encoder.clone(), device);
        let text_encoder = Box::pin(text_encoder).await?;
        progress(Part::Unet);
        let unet = UNet2DConditionModel::load(files, prefer, description.unet.clone(), device);
        let unet = Box::pin(unet).await?;
        progress(Part::Vae);
        let vae = Box::pin(VaeDecoder::load(files, prefer, description.vae.clone(), device)).await?;
        let preview_map = preview::map(&vae, &hardware).await?;
        let picture_map = map_to_device(&preview::PICTURE, &hardware);
        Ok(Self {
            source,
            hardware,
            description,
            tokenizer,
            text_encoder,
            unet,
            vae,
            preview_map,
            picture_map,
            prepared: RefCell::default(),
        })
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
            given: Given::default(),
        }
    }

    /// The device that it runs on.
    #[must_use]
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// Its tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }
}

/// A `[channels + 1, 3]` map of [`crate::kernel::to_rgb`] on the device.
fn map_to_device(map: &[[f32; 3]], hardware: &Hardware) -> Tensor<2> {
    Tensor::from_data(TensorData::new(map.as_flattened().to_vec(), [map.len(), 3]), hardware.device())
}
