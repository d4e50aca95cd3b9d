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
        let prediction = match (companions.prediction, decided(checkpoint)?) {
            (Some(prediction), _) | (None, Some(prediction)) => prediction,
            (None, None) => {
                let (file, told) = (checkpoint.file, scheduler::telling(checkpoint));
                scheduler::by_numbers(source, file, told.map(|(_, info)| info)).await?
            }
        };
        let mut folder = Self::predicting(checkpoint, prediction)?;
        folder.tokenizers(&companions.merges)?;
        Ok(folder)
    }

    /// All but tokenizers, of a model that predicts what is said.
    ///
    /// # Errors
    /// As [`super::SingleFileSource::open`].
    pub(super) fn predicting(checkpoint: &Checkpoint<'_>, prediction: Prediction) -> Result<Self> {
        let encoders = whole(checkpoint)?;
        let xl = encoders.second.is_some();
        let mut folder = Self::default();
        let pooled = folder.text_encoders(checkpoint, &encoders)?;
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
        self.parts.insert(path, PartFile::new(checkpoint.file, tensors, None)?);
        Ok(())
    }

    /// Gives the width of a pooled text, where there is a second encoder.
    fn text_encoders(&mut self, checkpoint: &Checkpoint<'_>, encoders: &Encoders) -> Result<Option<usize>> {
        let (first, tensors) = text_encoder::read(checkpoint, encoders.first)?;
        self.weights("text_encoder/model.safetensors", checkpoint, tensors)?;
        self.json("text_encoder/config.json", &configs::text_encoder(&first));
        let open_clip = encoders.first.kind == Kind::OpenClip;
        let config = tokenizer::config(open_clip, first.max_position_embeddings);
        self.json("tokenizer/tokenizer_config.json", &config);
        let Some(second) = encoders.second else { return Ok(None) };
        let (second, tensors) = text_encoder::read(checkpoint, second)?;
        self.weights("text_encoder_2/model.safetensors", checkpoint, tensors)?;
        self.json("text_encoder_2/config.json", &configs::text_encoder(&second));
        let config = tokenizer::config(true, second.max_position_embeddings);
        self.json("tokenizer_2/tokenizer_config.json", &config);
        Ok(second.projection_dim)
    }

    /// Makes the tokenizers that there are configs of; without merges there are none.
    pub(super) fn tokenizers(&mut self, merges: &str) -> Result<()> {
        if merges.is_empty() {
            self.texts.retain(|path, _| !path.starts_with("tokenizer"));
            return Ok(());
        }
        let vocabulary = tokenizer::vocabulary(merges)?;
        for [config, vocab, merges_path] in [
            ["tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"],
            ["tokenizer_2/tokenizer_config.json", "tokenizer_2/vocab.json", "tokenizer_2/merges.txt"],
        ] {
            if self.texts.contains_key(config) {
                self.texts.insert(vocab, vocabulary.clone());
                self.texts.insert(merges_path, merges.into());
            }
        }
        Ok(())
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

/// What the UNet predicts; `None` where only its numbers tell.
///
/// # Errors
/// As [`super::SingleFileSource::open`].
pub(super) fn decided(checkpoint: &Checkpoint<'_>) -> Result<Option<Prediction>> {
    let encoders = whole(checkpoint)?;
    scheduler::check(checkpoint)?;
    if let Some(prediction) = scheduler::said(checkpoint) {
        return Ok(Some(prediction));
    }
    let input = checkpoint.dimension(&format!("{}input_blocks.0.0.weight", unet::PREFIX), 1)?;
    // Stable Diffusion 2 for inpainting was published for the noise only.
    let either = encoders.first.kind == Kind::OpenClip && input == LATENT_CHANNELS;
    Ok((!either).then_some(Prediction::Epsilon))
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
