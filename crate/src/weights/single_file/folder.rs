//! Every file that a checkpoint is shown as.

use std::collections::BTreeMap;

use serde_json::Value;

use super::checkpoint::Checkpoint;
use super::part::{PartFile, Renamed};
use super::scheduler::{self, Prediction};
use super::text_encoder::{self, Kind, Place};
use super::{Companions, configs, tokenizer, unet, vae};
use crate::error::Result;
use crate::weights::source::Source;

/// Pixels a side that a family was trained on, where the file does not say.
const PIXELS: usize = 512;
const VELOCITY_PIXELS: usize = 768;
const XL_PIXELS: usize = 1024;

/// Bounds of what a file may say of it.
const PIXELS_SAID: std::ops::RangeInclusive<usize> = 64..=4096;

/// ModelSpec's `WIDTHxHEIGHT`.
const RESOLUTION: &str = "modelspec.resolution";

/// Channels of the latents alone; an inpainting model takes more.
const LATENT_CHANNELS: usize = 4;

/// The files by path: weights, and texts.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) parts: BTreeMap<&'static str, PartFile>,
    pub(super) texts: BTreeMap<&'static str, Vec<u8>>,
}

/// The text encoders of a checkpoint.
struct Encoders {
    first: Place,
    second: Option<Place>,
}

impl Folder {
    /// # Errors
    /// As [`super::SingleFileSource::open`].
    pub(super) async fn of(
        checkpoint: &Checkpoint<'_>,
        source: &dyn Source,
        companions: &Companions,
    ) -> Result<Self> {
        let encoders = whole(checkpoint)?;
        scheduler::check(checkpoint)?;
        let prediction = match companions.prediction {
            Some(prediction) => prediction,
            None => prediction(checkpoint, encoders.first.kind, source).await?,
        };
        let xl = encoders.second.is_some();
        let mut folder = Self::default();
        let pooled = folder.text_encoders(checkpoint, &encoders, &companions.merges)?;
        let factor = folder.vae(checkpoint, xl)?;
        let lcm =
            folder.unet(checkpoint, pooled, pixels(checkpoint, prediction, xl).map(|size| size / factor))?;
        let scheduler = scheduler::config(checkpoint, prediction, xl, lcm);
        let class = scheduler["_class_name"].as_str().unwrap_or_default();
        folder.json("model_index.json", &configs::model_index(xl, lcm, class));
        folder.json("scheduler/scheduler_config.json", &scheduler);
        Ok(folder)
    }

    fn json(&mut self, path: &'static str, value: &Value) {
        self.texts.insert(path, value.to_string().into_bytes());
    }

    fn weights(
        &mut self,
        path: &'static str,
        checkpoint: &Checkpoint<'_>,
        tensors: Vec<Renamed>,
    ) -> Result<()> {
        self.parts.insert(path, PartFile::new(checkpoint.file, tensors)?);
        Ok(())
    }

    /// Gives the width of a pooled text, where there is a second encoder.
    fn text_encoders(
        &mut self,
        checkpoint: &Checkpoint<'_>,
        encoders: &Encoders,
        merges: &str,
    ) -> Result<Option<usize>> {
        let (first, tensors) = text_encoder::read(checkpoint, encoders.first)?;
        self.weights("text_encoder/model.safetensors", checkpoint, tensors)?;
        self.json("text_encoder/config.json", &configs::text_encoder(&first));
        let vocabulary = if merges.is_empty() { None } else { Some(tokenizer::vocabulary(merges)?) };
        if let Some(vocabulary) = &vocabulary {
            let open_clip = encoders.first.kind == Kind::OpenClip;
            self.texts.insert("tokenizer/vocab.json", vocabulary.clone());
            self.texts.insert("tokenizer/merges.txt", merges.into());
            let config = tokenizer::config(open_clip, first.max_position_embeddings);
            self.texts.insert("tokenizer/tokenizer_config.json", config);
        }
        let Some(second) = encoders.second else { return Ok(None) };
        let (second, tensors) = text_encoder::read(checkpoint, second)?;
        self.weights("text_encoder_2/model.safetensors", checkpoint, tensors)?;
        self.json("text_encoder_2/config.json", &configs::text_encoder(&second));
        if let Some(vocabulary) = vocabulary {
            self.texts.insert("tokenizer_2/vocab.json", vocabulary);
            self.texts.insert("tokenizer_2/merges.txt", merges.into());
            let config = tokenizer::config(true, second.max_position_embeddings);
            self.texts.insert("tokenizer_2/tokenizer_config.json", config);
        }
        Ok(second.projection_dim)
    }

    /// Gives the pixels per latent along a side.
    fn vae(&mut self, checkpoint: &Checkpoint<'_>, xl: bool) -> Result<usize> {
        let (structure, tensors) = vae::read(checkpoint)?;
        self.weights("vae/diffusion_pytorch_model.safetensors", checkpoint, tensors)?;
        self.json("vae/config.json", &configs::vae(&structure, xl));
        // Stages beyond what any config may have are refused where the config is read.
        Ok(1 << (structure.block_out_channels.len() - 1).min(16))
    }

    /// Gives whether the guidance scale is an input.
    fn unet(
        &mut self,
        checkpoint: &Checkpoint<'_>,
        pooled: Option<usize>,
        sample_size: [usize; 2],
    ) -> Result<bool> {
        let (structure, tensors) = unet::read(checkpoint)?;
        let dimension =
            |tensor: &str, dimension| checkpoint.dimension(&format!("{}{tensor}", unet::PREFIX), dimension);
        let (cross_attention_dim, linear_projection) = unet::attention(checkpoint)?;
        let config = configs::Unet {
            structure,
            in_channels: dimension("input_blocks.0.0.weight", 1)?,
            out_channels: dimension("out.2.weight", 0)?,
            cross_attention_dim,
            linear_projection,
            time_cond_proj_dim: dimension("time_embed.cond_proj.weight", 1).ok(),
            addition: dimension("label_emb.0.0.weight", 1).ok(),
            pooled,
            sample_size,
        };
        self.weights("unet/diffusion_pytorch_model.safetensors", checkpoint, tensors)?;
        self.json("unet/config.json", &configs::unet(&config));
        Ok(config.time_cond_proj_dim.is_some())
    }
}

/// The text encoders, when the checkpoint is a whole model.
fn whole(checkpoint: &Checkpoint<'_>) -> Result<Encoders> {
    let without = |part: &str| {
        let supported = "files that hold a whole model: a UNet (model.diffusion_model.*), its text encoder \
            (cond_stage_model.* or conditioner.embedders.*) and its VAE (first_stage_model.*)";
        Err(checkpoint.unsupported(format!("a file without a {part}"), supported))
    };
    if checkpoint.below(unet::PREFIX).is_empty() {
        return without("UNet");
    }
    let Some(first) = text_encoder::first(checkpoint) else { return without("text encoder") };
    if checkpoint.below(vae::PREFIX).is_empty() {
        return without("VAE");
    }
    Ok(Encoders { first, second: text_encoder::second(checkpoint) })
}

async fn prediction(checkpoint: &Checkpoint<'_>, encoder: Kind, source: &dyn Source) -> Result<Prediction> {
    if let Some(prediction) = scheduler::said(checkpoint) {
        return Ok(prediction);
    }
    let input = checkpoint.dimension(&format!("{}input_blocks.0.0.weight", unet::PREFIX), 1)?;
    // Stable Diffusion 2 for inpainting was published for the noise only.
    let either = encoder == Kind::OpenClip && input == LATENT_CHANNELS;
    let velocity = either && scheduler::velocity_by_numbers(checkpoint, source).await?;
    Ok(if velocity { Prediction::Velocity } else { Prediction::Epsilon })
}

/// Height and width of the pictures that the model was trained on.
fn pixels(checkpoint: &Checkpoint<'_>, prediction: Prediction, xl: bool) -> [usize; 2] {
    let said = || {
        let (width, height) = checkpoint.header.metadata.get(RESOLUTION)?.split_once('x')?;
        let size = [height.parse().ok()?, width.parse().ok()?];
        size.iter().all(|pixels| PIXELS_SAID.contains(pixels)).then_some(size)
    };
    let usual = match prediction {
        _ if xl => XL_PIXELS,
        Prediction::Velocity => VELOCITY_PIXELS,
        Prediction::Epsilon => PIXELS,
    };
    said().unwrap_or([usual; 2])
}
