//! What of `unet/config.json` is refused.

use super::Config;
use super::check::{Check, MAX_CHANNELS, MAX_LAYERS};
use super::transformer_layers::TransformerLayers;
use super::unet::{DOWN_BLOCKS, MID_BLOCKS, UNet2DConditionConfig, UP_BLOCKS};
use crate::error::Result;

impl UNet2DConditionConfig {
    fn validate_switches(&self, check: &Check) -> Result<()> {
        check.absent("class_embed_type", self.class_embed_type.as_ref())?;
        check.absent("num_class_embeds", self.num_class_embeds.as_ref())?;
        check.absent("encoder_hid_dim", self.encoder_hid_dim.as_ref())?;
        check.absent("encoder_hid_dim_type", self.encoder_hid_dim_type.as_ref())?;
        check.absent("time_embedding_act_fn", self.time_embedding_act_fn.as_ref())?;
        check.absent("timestep_post_act", self.timestep_post_act.as_ref())?;
        check.absent("cross_attention_norm", self.cross_attention_norm.as_ref())?;
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
        if let Some(class) = &self.mid_block_type
            && !MID_BLOCKS.contains(&class.as_str())
        {
            return Err(check.unsupported(class, &MID_BLOCKS));
        }
        check.between("out_channels", self.out_channels, 1, 64)?;
        if self.in_channels != self.out_channels && !self.inpaints() {
            let inpainting = 2 * self.out_channels + 1;
            let reason = format!(
                "is {}; with out_channels {} Easel runs that many, or {inpainting} for inpainting",
                self.in_channels, self.out_channels
            );
            return check.fail("in_channels", reason);
        }
        check.each("layers_per_block", &self.layers_per_block, stages, (1, MAX_LAYERS))?;
        self.validate_transformers(check)?;
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

    /// Every attention knows its depth; a stage without attention may say anything.
    fn validate_transformers(&self, check: &Check) -> Result<()> {
        let (field, reverse_field) = ("transformer_layers_per_block", "reverse_transformer_layers_per_block");
        let (layers, reverse) =
            (&self.transformer_layers_per_block, self.reverse_transformer_layers_per_block.as_ref());
        layers.validate(check, field, self.stages())?;
        if let Some(reverse) = reverse {
            reverse.validate(check, reverse_field, self.stages())?;
        } else if layers.differ_within_stages() {
            return check.fail(reverse_field, format!("is null, but {field} has lists of lists"));
        }
        for stage in 0..self.stages() {
            let resnets = self.layers(stage);
            if self.down_attends(stage) && layers.known(stage) < resnets {
                return check
                    .fail(field, format!("has too few numbers for the {resnets} resnets of a stage"));
            }
            let known = |reverse: &TransformerLayers| reverse.known(self.stages() - 1 - stage);
            if self.up_attends(stage) && reverse.is_some_and(|reverse| known(reverse) < resnets + 1) {
                let reason = format!("has too few numbers for the {} resnets of a stage", resnets + 1);
                return check.fail(reverse_field, reason);
            }
        }
        Ok(())
    }

    /// SDXL's sizes and pooled text come as one vector to one linear layer.
    fn validate_addition(&self, check: &Check) -> Result<()> {
        let Some(kind) = &self.addition_embed_type else { return Ok(()) };
        check.must_be("addition_embed_type", &kind.as_str(), &"text_time")?;
        let width = self.addition_time_embed_dim.unwrap_or(0);
        check.between("addition_time_embed_dim", width, 1, MAX_CHANNELS)?;
        let inputs = self.projection_class_embeddings_input_dim.unwrap_or(0);
        check.between("projection_class_embeddings_input_dim", inputs, 1, 8 * MAX_CHANNELS)
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
            let mid = stage + 1 == stages && self.mid_attends();
            if self.down_attends(stage) || self.up_attends(stage) || mid {
                check.heads(heads, self.heads(stage), self.channels(stage))?;
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
        self.validate_numbers(&check)?;
        self.validate_addition(&check)
    }
}
