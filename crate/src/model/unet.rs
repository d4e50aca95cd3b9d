//! `UNet2DConditionModel` (diffusers `models/unets/unet_2d_condition.py`), shaped by its config alone.

use std::rc::Rc;

use burn::backend::DType;
use burn::tensor::{Device, Tensor};

use super::adapters::{Adaptable, Adapters};
use super::layers::{Conv3x3, Image, Loader, Norm};
use super::resnet::Groups;
use super::time_embedding::{AddedCond, Addition, TimeEmbedding};
use super::unet_stage::{
    BlockInputs, Common, Cursor, DownStage, Layer, MidStage, StageAttention, UpChannels, UpStage,
    prepare_text, prepare_time,
};
use crate::config::UNet2DConditionConfig;
use crate::error::Result;
use crate::kernel::{Activation, to_storage};
use crate::weights::source::Source;
use crate::weights::{Prefer, Weights};

/// The denoiser.
pub struct UNet2DConditionModel {
    config: UNet2DConditionConfig,
    time_embedding: TimeEmbedding,
    conv_in: Conv3x3,
    down: Vec<DownStage>,
    mid: Option<MidStage>,
    up: Vec<UpStage>,
    conv_norm_out: Norm,
    conv_out: Conv3x3,
    adaptable: Adaptable,
}

/// What stays the same over a run: a prompt's keys and values, and every call's time embedding.
#[derive(Debug, Clone)]
pub struct RunInputs {
    blocks: BlockInputs,
}

impl UNet2DConditionModel {
    /// Reads the UNet of the folder `unet`.
    ///
    /// # Errors
    /// Those of [`Weights`].
    pub async fn load(
        source: &dyn Source,
        prefer: Prefer,
        config: UNet2DConditionConfig,
        device: &Device,
    ) -> Result<Self> {
        let weights = Weights::open(source, "unet", prefer).await?;
        let root = Loader::new(&weights, device);
        let channels = config.block_out_channels.clone();
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let common = Common {
            groups: Groups { count: config.norm_num_groups, eps: config.norm_eps as f32 },
            time_channels: config.time_embed_dim(),
            text_channels: config.text_width(),
        };
        let addition = Addition::load(&root.at("add_embedding"), &config).await?;
        Ok(Self {
            conv_in: root.at("conv_in").conv3x3(config.in_channels, first).await?,
            conv_norm_out: root.at("conv_norm_out").norm(first).await?,
            conv_out: root.at("conv_out").conv3x3(first, config.out_channels).await?,
            down: load_down(&root, &config, common).await?,
            mid: if config.has_mid_block() {
                let place = root.at("mid_block");
                Some(MidStage::load(&place, last, mid_attention(&config).as_ref(), common).await?)
            } else {
                None
            },
            time_embedding: TimeEmbedding::load(&root.at("time_embedding"), &config, addition, device)
                .await?,
            up: load_up(&root, &config, common).await?,
            adaptable: root.adaptable(),
            config,
        })
    }

    /// The config it was loaded with.
    #[must_use]
    pub fn config(&self) -> &UNet2DConditionConfig {
        &self.config
    }

    /// The layers that adapters can stand beside.
    pub(crate) fn adaptable(&self) -> &Adaptable {
        &self.adaptable
    }

    /// Uses `adapters`, and no others, from now on.
    pub(crate) fn install(&self, adapters: &Rc<Adapters>) {
        self.adaptable.install(adapters);
    }

    /// Computes once what every call of a run needs: `prompt_embeds` `[b, tokens, cross_attention_dim]`, the
    /// `timesteps` of all calls, `timestep_cond` `[time_cond_proj_dim]` for models that take it, LCM's
    /// [`guidance_scale`](super::embeddings::guidance_scale), and `added_cond` of the same batch for SDXL.
    #[must_use]
    pub fn prepare(
        &self,
        prompt_embeds: &Tensor<3>,
        timesteps: &[f64],
        timestep_cond: Option<&[f32]>,
        added_cond: Option<&AddedCond>,
    ) -> RunInputs {
        let activated = self.time_embedding.forward(timesteps, timestep_cond, added_cond);
        let mut blocks = BlockInputs::default();
        prepare_time(self.layers(), &activated, &mut blocks);
        prepare_text(self.layers(), &to_storage(prompt_embeds.clone()), &mut blocks);
        RunInputs { blocks }
    }

    /// The model's output for `sample` `[b, height*width, in_channels]` at call number `call` of the run. Between the two,
    /// activations are as [`to_storage`] says.
    #[must_use]
    pub fn forward(
        &self,
        sample: Tensor<3>,
        height: usize,
        width: usize,
        inputs: &RunInputs,
        call: usize,
    ) -> Tensor<3> {
        let mut cursor = Cursor {
            call,
            time_shifts: inputs.blocks.time_shifts.iter(),
            text_keys: inputs.blocks.text_keys.iter(),
        };
        let mut x = self.conv_in.forward(Image { pixels: to_storage(sample), height, width }, |same| same);
        let mut skips = vec![x.clone()];
        for stage in &self.down {
            x = stage.forward(x, &mut skips, &mut cursor);
        }
        if let Some(mid) = &self.mid {
            x = mid.forward(x, &mut cursor);
        }
        for stage in &self.up {
            x = stage.forward(x, &mut skips, &mut cursor);
        }
        let (groups, eps) = (self.config.norm_num_groups, self.config.norm_eps as f32);
        x.pixels = self.conv_norm_out.group(x.pixels, groups, eps, Activation::Silu);
        self.conv_out.forward(x, |same| same).pixels.cast(DType::F32)
    }

    /// Every layer in the order in which [`Self::forward`] visits them.
    fn layers(&self) -> impl Iterator<Item = &Layer> {
        let down = self.down.iter().flat_map(DownStage::layers);
        let mid = self.mid.iter().flat_map(MidStage::layers);
        let up = self.up.iter().flat_map(UpStage::layers);
        down.chain(mid).chain(up)
    }
}

fn mid_attention(config: &UNet2DConditionConfig) -> Option<StageAttention> {
    let heads = config.heads(config.stages().saturating_sub(1));
    config.mid_attends().then(|| StageAttention { heads, depths: vec![config.mid_transformer_layers()] })
}

fn down_attention(config: &UNet2DConditionConfig, stage: usize) -> Option<StageAttention> {
    let depths = (0..config.layers(stage)).map(|resnet| config.down_transformer_layers(stage, resnet));
    let heads = config.heads(stage);
    config.down_attends(stage).then(|| StageAttention { heads, depths: depths.collect() })
}

/// Of the up stage of the same resolution as down stage `stage`.
fn up_attention(config: &UNet2DConditionConfig, stage: usize) -> Option<StageAttention> {
    let depths = (0..=config.layers(stage)).map(|resnet| config.up_transformer_layers(stage, resnet));
    let heads = config.heads(stage);
    config.up_attends(stage).then(|| StageAttention { heads, depths: depths.collect() })
}

async fn load_down(
    root: &Loader<'_>,
    config: &UNet2DConditionConfig,
    common: Common,
) -> Result<Vec<DownStage>> {
    let channels = &config.block_out_channels;
    let mut stages = Vec::with_capacity(channels.len());
    for i in 0..channels.len() {
        let inputs = channels[i.saturating_sub(1)];
        let place = root.at(format!("down_blocks.{i}"));
        let attention = down_attention(config, i);
        let stage = DownStage::load(
            &place,
            (inputs, channels[i]),
            config.layers(i),
            attention.as_ref(),
            i + 1 < channels.len(),
            common,
        );
        stages.push(stage.await?);
    }
    Ok(stages)
}

async fn load_up(root: &Loader<'_>, config: &UNet2DConditionConfig, common: Common) -> Result<Vec<UpStage>> {
    let channels = &config.block_out_channels;
    let count = channels.len();
    let mut stages = Vec::with_capacity(count);
    for i in 0..count {
        let mirrored = count - 1 - i;
        let place = root.at(format!("up_blocks.{i}"));
        let attention = up_attention(config, mirrored);
        let stage = UpStage::load(
            &place,
            UpChannels {
                previous: channels[(mirrored + 1).min(count - 1)],
                own: channels[mirrored],
                outer: channels[mirrored.saturating_sub(1)],
            },
            config.layers(mirrored) + 1,
            attention.as_ref(),
            i + 1 < count,
            common,
        );
        stages.push(stage.await?);
    }
    Ok(stages)
}
