//! `unet/config.json`: the arguments of diffusers' `UNet2DConditionModel`
//! (`models/unets/unet_2d_condition.py`), same names and defaults.

use serde::Deserialize;
use serde_json::Value;

use super::check::{Check, MAX_CHANNELS, MAX_LAYERS};
use super::{Config, OneOrMany};
use crate::error::Result;

const DOWN_BLOCKS: [&str; 2] = ["CrossAttnDownBlock2D", "DownBlock2D"];
const UP_BLOCKS: [&str; 2] = ["CrossAttnUpBlock2D", "UpBlock2D"];
const MID_BLOCK: &str = "UNetMidBlock2DCrossAttn";

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
    pub transformer_layers_per_block: OneOrMany<usize>,
    pub reverse_transformer_layers_per_block: Option<Value>,
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
    pub upcast_attention: bool,
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
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: owned([down, down, down, "DownBlock2D"]),
            mid_block_type: Some(MID_BLOCK.to_owned()),
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
            transformer_layers_per_block: OneOrMany::One(1),
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
            upcast_attention: false,
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

    /// Transformer blocks after each resnet of a stage with attention; the middle has those of the last.
    #[must_use]
    pub fn transformer_layers(&self, stage: usize) -> usize {
        self.transformer_layers_per_block.at(stage)
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

    /// Whether there is a middle (resnet, attention, resnet); BK-SDM's smallest models have none.
    #[must_use]
    pub fn has_mid_block(&self) -> bool {
        self.mid_block_type.is_some()
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
    #[must_use]
    pub fn sample_size(&self) -> Option<[usize; 2]> {
        self.sample_size.as_ref().map(|size| [size.at(0), size.at(1)])
    }

    fn validate_switches(&self, check: &Check) -> Result<()> {
        if let Some(kind) = &self.addition_embed_type {
            let reason = format!("is {kind:?}, as in SDXL, which Easel does not run yet");
            return check.fail("addition_embed_type", reason);
        }
        check.absent("class_embed_type", self.class_embed_type.as_ref())?;
        check.absent("num_class_embeds", self.num_class_embeds.as_ref())?;
        check.absent("encoder_hid_dim", self.encoder_hid_dim.as_ref())?;
        check.absent("encoder_hid_dim_type", self.encoder_hid_dim_type.as_ref())?;
        check.absent("time_embedding_act_fn", self.time_embedding_act_fn.as_ref())?;
        check.absent("timestep_post_act", self.timestep_post_act.as_ref())?;
        check.absent("cross_attention_norm", self.cross_attention_norm.as_ref())?;
        let reversed = self.reverse_transformer_layers_per_block.as_ref();
        check.absent("reverse_transformer_layers_per_block", reversed)?;
        check.must_be("center_input_sample", &self.center_input_sample, &false)?;
        check.must_be("dual_cross_attention", &self.dual_cross_attention, &false)?;
        check.must_be("resnet_skip_time_act", &self.resnet_skip_time_act, &false)?;
        check.must_be("class_embeddings_concat", &self.class_embeddings_concat, &false)?;
        let mid_only = self.mid_block_only_cross_attention.unwrap_or(false);
        check.must_be("mid_block_only_cross_attention", &mid_only, &false)?;
        let cross_only = self.only_cross_attention.values().contains(&true);
        check.must_be("only_cross_attention", &cross_only, &false)?;
        check.must_be("resnet_time_scale_shift", &self.resnet_time_scale_shift.as_str(), &"default")?;
        check.must_be("time_embedding_type", &self.time_embedding_type.as_str(), &"positional")?;
        check.must_be("attention_type", &self.attention_type.as_str(), &"default")?;
        if self.act_fn != "swish" {
            check.must_be("act_fn", &self.act_fn.as_str(), &"silu")?;
        }
        check.must_be("conv_in_kernel", &self.conv_in_kernel, &3)?;
        check.must_be("conv_out_kernel", &self.conv_out_kernel, &3)?;
        check.must_be("downsample_padding", &self.downsample_padding, &1)?;
        check.must_be("mid_block_scale_factor", &self.mid_block_scale_factor, &1.0)?;
        check.must_be("resnet_out_scale_factor", &self.resnet_out_scale_factor, &1.0)
    }

    fn validate_numbers(&self, check: &Check) -> Result<()> {
        check.channels("block_out_channels", &self.block_out_channels)?;
        let stages = self.stages();
        check.classes("down_block_types", &self.down_block_types, &DOWN_BLOCKS, stages)?;
        check.classes("up_block_types", &self.up_block_types, &UP_BLOCKS, stages)?;
        check.class(self.mid_block_type.as_ref(), MID_BLOCK)?;
        check.between("in_channels", self.in_channels, 1, 64)?;
        if self.out_channels != self.in_channels {
            let reason = format!("is {}, but in_channels is {}", self.out_channels, self.in_channels);
            return check.fail("out_channels", format!("{reason}; Easel does not run inpainting models"));
        }
        check.each("layers_per_block", &self.layers_per_block, stages, (1, MAX_LAYERS))?;
        let depth = &self.transformer_layers_per_block;
        check.each("transformer_layers_per_block", depth, stages, (1, MAX_LAYERS))?;
        check.each("cross_attention_dim", &self.cross_attention_dim, stages, (1, MAX_CHANNELS))?;
        if self.cross_attention_dim.values().iter().any(|&width| width != self.text_width()) {
            return check.fail("cross_attention_dim", "differs between stages, which Easel does not run");
        }
        if let Some(sample_size) = &self.sample_size {
            check.each("sample_size", sample_size, 2, (1, 4096))?;
        }
        for (field, width) in
            [("time_cond_proj_dim", self.time_cond_proj_dim), ("time_embedding_dim", self.time_embedding_dim)]
        {
            width.map_or(Ok(()), |width| check.between(field, width, 1, 4 * MAX_CHANNELS))?;
        }
        check.positive("norm_eps", self.norm_eps)?;
        if !(0.0..=1.0).contains(&self.freq_shift) {
            return check.fail("freq_shift", format!("is {}, outside of 0 to 1", self.freq_shift));
        }
        self.validate_stages(check)
    }

    fn validate_stages(&self, check: &Check) -> Result<()> {
        let stages = self.stages();
        let heads = self.num_attention_heads.as_ref().map_or("attention_head_dim", |_| "num_attention_heads");
        let values = self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim);
        if let Some(length) = values.stages() {
            check.list(heads, length, stages)?;
        }
        // The sinusoidal embedding has a sine and a cosine for each frequency.
        if !self.channels(0).is_multiple_of(2) {
            return check.fail("block_out_channels", "begins with an odd number");
        }
        for stage in 0..stages {
            check.divides("norm_num_groups", self.norm_num_groups, self.channels(stage))?;
            let mid = stage + 1 == stages && self.has_mid_block();
            if self.down_attends(stage) || self.up_attends(stage) || mid {
                check.divides(heads, self.heads(stage), self.channels(stage))?;
            }
        }
        Ok(())
    }
}

impl Config for UNet2DConditionConfig {
    fn validate(&self, file: &str) -> Result<()> {
        let check = Check { file };
        check.class(self.class_name.as_ref(), "UNet2DConditionModel")?;
        self.validate_switches(&check)?;
        self.validate_numbers(&check)
    }
}

#[cfg(test)]
#[path = "unet_tests.rs"]
mod tests;
