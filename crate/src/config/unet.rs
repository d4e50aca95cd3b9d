//! `unet/config.json`: the arguments of diffusers' `UNet2DConditionModel`
//! (`models/unets/unet_2d_condition.py`), same names and defaults.

use serde::Deserialize;

use super::OneOrMany;
use super::transformer_layers::TransformerLayers;

pub(super) const DOWN_BLOCKS: [&str; 2] = ["CrossAttnDownBlock2D", "DownBlock2D"];
pub(super) const UP_BLOCKS: [&str; 2] = ["CrossAttnUpBlock2D", "UpBlock2D"];
pub(super) const MID_BLOCKS: [&str; 2] = ["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"];

/// Side of the latents of Stable Diffusion 1.
const LEAST_SIDE: usize = 64;

/// Configuration of a `UNet2DConditionModel`.
///
/// Lists count stages from the input to the middle, but for `up_block_types`, which counts from the middle to the
/// output.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are documented by diffusers")]
pub struct UNet2DConditionConfig {
    #[serde(rename = "_class_name")]
    pub class_name: Option<String>,
    #[serde(rename = "_diffusers_version")]
    pub diffusers_version: Option<String>,
    pub sample_size: Option<OneOrMany<usize>>,
    pub in_channels: usize,
    pub out_channels: usize,
    pub center_input_sample: bool,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
    pub down_block_types: Vec<String>,
    pub mid_block_type: Option<String>,
    pub up_block_types: Vec<String>,
    pub only_cross_attention: OneOrMany<bool>,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: OneOrMany<usize>,
    pub downsample_padding: usize,
    pub mid_block_scale_factor: f64,
    pub act_fn: String,
    pub norm_num_groups: usize,
    pub norm_eps: f64,
    pub cross_attention_dim: OneOrMany<usize>,
    pub transformer_layers_per_block: TransformerLayers,
    /// Of the up stages, from the middle to the output.
    pub reverse_transformer_layers_per_block: Option<TransformerLayers>,
    pub encoder_hid_dim: Option<usize>,
    pub encoder_hid_dim_type: Option<String>,
    pub attention_head_dim: OneOrMany<usize>,
    pub num_attention_heads: Option<OneOrMany<usize>>,
    pub dual_cross_attention: bool,
    pub use_linear_projection: bool,
    pub class_embed_type: Option<String>,
    pub addition_embed_type: Option<String>,
    pub addition_time_embed_dim: Option<usize>,
    pub num_class_embeds: Option<usize>,
    /// For half precision only, and null in SDXL's file.
    pub upcast_attention: Option<bool>,
    pub resnet_time_scale_shift: String,
    pub resnet_skip_time_act: bool,
    pub resnet_out_scale_factor: f64,
    pub time_embedding_type: String,
    pub time_embedding_dim: Option<usize>,
    pub time_embedding_act_fn: Option<String>,
    pub timestep_post_act: Option<String>,
    pub time_cond_proj_dim: Option<usize>,
    pub conv_in_kernel: usize,
    pub conv_out_kernel: usize,
    pub projection_class_embeddings_input_dim: Option<usize>,
    pub attention_type: String,
    pub class_embeddings_concat: bool,
    pub mid_block_only_cross_attention: Option<bool>,
    pub cross_attention_norm: Option<String>,
}

impl Default for UNet2DConditionConfig {
    fn default() -> Self {
        let owned = |names: [&str; 4]| names.map(str::to_owned).to_vec();
        let [down, up] = ["CrossAttnDownBlock2D", "CrossAttnUpBlock2D"];
        Self {
            class_name: None,
            diffusers_version: None,
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: owned([down, down, down, "DownBlock2D"]),
            mid_block_type: Some(MID_BLOCKS[0].to_owned()),
            up_block_types: owned(["UpBlock2D", up, up, up]),
            only_cross_attention: OneOrMany::One(false),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: OneOrMany::One(2),
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            act_fn: "silu".to_owned(),
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: OneOrMany::One(1280),
            transformer_layers_per_block: TransformerLayers::One(1),
            reverse_transformer_layers_per_block: None,
            encoder_hid_dim: None,
            encoder_hid_dim_type: None,
            attention_head_dim: OneOrMany::One(8),
            num_attention_heads: None,
            dual_cross_attention: false,
            use_linear_projection: false,
            class_embed_type: None,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            num_class_embeds: None,
            upcast_attention: None,
            resnet_time_scale_shift: "default".to_owned(),
            resnet_skip_time_act: false,
            resnet_out_scale_factor: 1.0,
            time_embedding_type: "positional".to_owned(),
            time_embedding_dim: None,
            time_embedding_act_fn: None,
            timestep_post_act: None,
            time_cond_proj_dim: None,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            projection_class_embeddings_input_dim: None,
            attention_type: "default".to_owned(),
            class_embeddings_concat: false,
            mid_block_only_cross_attention: None,
            cross_attention_norm: None,
        }
    }
}

impl UNet2DConditionConfig {
    /// Number of stages.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Channels of a stage; the middle has those of the last.
    #[must_use]
    pub fn channels(&self, stage: usize) -> usize {
        self.block_out_channels.get(stage).copied().unwrap_or_default()
    }

    /// Attention heads of a stage. `attention_head_dim` holds the NUMBER of heads unless `num_attention_heads`
    /// is set: a misnomer that diffusers keeps for the sake of old files.
    #[must_use]
    pub fn heads(&self, stage: usize) -> usize {
        self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim).at(stage)
    }

    /// Resnets of a down stage; the up stage of the same resolution has one more.
    #[must_use]
    pub fn layers(&self, stage: usize) -> usize {
        self.layers_per_block.at(stage)
    }

    /// Transformer blocks after resnet number `resnet` of a down stage with attention.
    #[must_use]
    pub fn down_transformer_layers(&self, stage: usize, resnet: usize) -> usize {
        self.transformer_layers_per_block.at(stage, resnet)
    }

    /// Transformer blocks of the middle.
    #[must_use]
    pub fn mid_transformer_layers(&self) -> usize {
        self.transformer_layers_per_block.at(self.stages().saturating_sub(1), 0)
    }

    /// Transformer blocks after resnet number `resnet` of the up stage of the same resolution as down stage `stage`.
    #[must_use]
    pub fn up_transformer_layers(&self, stage: usize, resnet: usize) -> usize {
        match &self.reverse_transformer_layers_per_block {
            Some(reverse) => reverse.at(self.stages().saturating_sub(stage + 1), resnet),
            None => self.transformer_layers_per_block.at(stage, resnet),
        }
    }

    /// Whether a down stage has cross attention.
    #[must_use]
    pub fn down_attends(&self, stage: usize) -> bool {
        self.down_block_types.get(stage).is_some_and(|class| class == DOWN_BLOCKS[0])
    }

    /// Whether the up stage of the same resolution as down stage `stage` has cross attention.
    #[must_use]
    pub fn up_attends(&self, stage: usize) -> bool {
        self.up_block_types.iter().rev().nth(stage).is_some_and(|class| class == UP_BLOCKS[0])
    }

    /// Whether there is a middle; BK-SDM's smallest models have none.
    #[must_use]
    pub fn has_mid_block(&self) -> bool {
        self.mid_block_type.is_some()
    }

    /// Whether the middle is resnet, attention, resnet; without attention it is one resnet (SSD-1B).
    #[must_use]
    pub fn mid_attends(&self) -> bool {
        self.mid_block_type.as_deref() == Some(MID_BLOCKS[0])
    }

    /// Whether the UNet also gets a mask and the latents of a masked picture: one channel more than twice the latents'.
    #[must_use]
    pub fn inpaints(&self) -> bool {
        self.in_channels == 2 * self.out_channels + 1
    }

    /// Whether the UNet is told a pooled text embedding and sizes beside the timestep (SDXL).
    #[must_use]
    pub fn takes_text_time(&self) -> bool {
        self.addition_embed_type.is_some()
    }

    /// Width of the text embeddings.
    #[must_use]
    pub fn text_width(&self) -> usize {
        self.cross_attention_dim.at(0)
    }

    /// Width of the time embedding.
    #[must_use]
    pub fn time_embed_dim(&self) -> usize {
        self.time_embedding_dim.unwrap_or(4 * self.channels(0))
    }

    /// Height and width of the latents that the model was trained on, where the file says so.
    ///
    /// Converters of diffusers before 0.9 wrote 32 for Stable Diffusion 1, and its pipelines raise a number below 64 in
    /// files of theirs (`StableDiffusionPipeline.__init__`).
    #[must_use]
    pub fn sample_size(&self) -> Option<[usize; 2]> {
        match self.sample_size.as_ref()? {
            OneOrMany::One(..LEAST_SIDE) if self.is_of_early_diffusers() => Some([LEAST_SIDE; 2]),
            size => Some([size.at(0), size.at(1)]),
        }
    }

    fn is_of_early_diffusers(&self) -> bool {
        let minor = self.diffusers_version.as_deref().and_then(|version| version.strip_prefix("0."));
        let minor = minor.and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        minor.is_some_and(|minor| minor < 9)
    }
}

#[cfg(test)]
#[path = "unet_tests.rs"]
mod tests;
