//! What a UNet is told beside the sample and the text: the timestep, and what models add to it (`get_time_embed` and
//! `get_aug_embed` of diffusers `models/unets/unet_2d_condition.py`).

use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor, TensorData};

use super::embeddings;
use super::layers::{Linear, Loader};
use crate::config::UNet2DConditionConfig;
use crate::error::Result;
use crate::kernel::Activation;

/// What SDXL's UNet is told beside the timestep: diffusers' `added_cond_kwargs`.
#[derive(Debug, Clone)]
pub struct AddedCond {
    /// Pooled and projected texts, `[b, 1, projection_dim]`.
    pub text_embeds: Tensor<3>,
    /// In pixels: height and width of the original, top and left of the crop, height and width of the target.
    pub time_ids: [f64; 6],
}

/// Embeds timesteps.
pub(crate) struct TimeEmbedding {
    channels: usize,
    flip_sin_to_cos: bool,
    freq_shift: f64,
    device: Device,
    cond_proj: Option<Linear>,
    linear_1: Linear,
    linear_2: Linear,
    addition: Option<Addition>,
}

/// `add_time_proj` and `add_embedding` of `addition_embed_type` `text_time`.
pub(crate) struct Addition {
    time_channels: usize,
    linear_1: Linear,
    linear_2: Linear,
}

impl TimeEmbedding {
    pub(crate) async fn load(
        root: &Loader<'_>,
        config: &UNet2DConditionConfig,
        addition: Option<Addition>,
        device: &Device,
    ) -> Result<Self> {
        let (channels, width) = (config.channels(0), config.time_embed_dim());
        Ok(Self {
            channels,
            flip_sin_to_cos: config.flip_sin_to_cos,
            freq_shift: config.freq_shift,
            device: device.clone(),
            cond_proj: match config.time_cond_proj_dim {
                Some(inputs) => Some(root.at("cond_proj").linear_without_bias(inputs, channels).await?),
                None => None,
            },
            linear_1: root.at("linear_1").linear(channels, width).await?,
            linear_2: root.at("linear_2").linear(width, width).await?,
            addition,
        })
    }

    /// SiLU of the embedding of every call's timestep: `[1, calls, time_embed_dim]`, or `[b, calls, time_embed_dim]`
    /// where `added_cond` differs between the texts of a batch.
    pub(crate) fn forward(
        &self,
        timesteps: &[f64],
        timestep_cond: Option<&[f32]>,
        added_cond: Option<&AddedCond>,
    ) -> Tensor<3> {
        let mut sinusoids = self.sinusoids(timesteps, self.channels);
        if let (Some(cond_proj), Some(row)) = (&self.cond_proj, timestep_cond) {
            let rows = row.repeat(timesteps.len());
            sinusoids = cond_proj.forward_onto(self.upload(rows, timesteps.len(), row.len()), sinusoids);
        }
        let hidden = self.linear_1.forward_then(sinusoids, Activation::Silu);
        match (&self.addition, added_cond) {
            (Some(addition), Some(added_cond)) => {
                silu(self.linear_2.forward(hidden) + self.added(addition, added_cond))
            }
            _ => self.linear_2.forward_then(hidden, Activation::Silu),
        }
    }

    /// `[b, 1, time_embed_dim]`.
    fn added(&self, addition: &Addition, AddedCond { text_embeds, time_ids }: &AddedCond) -> Tensor<3> {
        let channels = addition.time_channels;
        let sizes = self.sinusoids(time_ids, channels).reshape([1, 1, time_ids.len() * channels]);
        let [b, ..] = text_embeds.dims();
        let both = Tensor::cat(vec![text_embeds.clone(), sizes.repeat_dim(0, b)], 2);
        addition.linear_2.forward(addition.linear_1.forward_then(both, Activation::Silu))
    }

    /// `[1, values.len(), channels]`.
    fn sinusoids(&self, values: &[f64], channels: usize) -> Tensor<3> {
        let rows = embeddings::timesteps(values, channels, self.flip_sin_to_cos, self.freq_shift);
        self.upload(rows, values.len(), channels)
    }

    fn upload(&self, values: Vec<f32>, rows: usize, columns: usize) -> Tensor<3> {
        Tensor::from_data(TensorData::new(values, [1, rows, columns]), &self.device)
    }
}

impl Addition {
    /// `None` where the config asks for nothing to be added.
    pub(crate) async fn load(root: &Loader<'_>, config: &UNet2DConditionConfig) -> Result<Option<Self>> {
        let inputs = config.projection_class_embeddings_input_dim;
        let (true, Some(time_channels), Some(inputs)) =
            (config.takes_text_time(), config.addition_time_embed_dim, inputs)
        else {
            return Ok(None);
        };
        let width = config.time_embed_dim();
        Ok(Some(Self {
            time_channels,
            linear_1: root.at("linear_1").linear(inputs, width).await?,
            linear_2: root.at("linear_2").linear(width, width).await?,
        }))
    }
}
