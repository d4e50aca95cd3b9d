//! The stages of a UNet: `DownBlock2D`, `CrossAttnDownBlock2D`, `UNetMidBlock2DCrossAttn`, `UNetMidBlock2D`,
//! `UpBlock2D` and `CrossAttnUpBlock2D` (diffusers `models/unets/unet_2d_blocks.py`).

use burn::tensor::Tensor;

use super::layers::{Conv3x3, Image, Loader};
use super::resnet::{Groups, ResnetBlock};
use super::transformer::{TextKeys, Transformer};
use crate::error::Result;

/// What every stage of one UNet shares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Common {
    pub(crate) groups: Groups,
    pub(crate) time_channels: usize,
    pub(crate) text_channels: usize,
}

/// A stage's attention; a stage without has none.
#[derive(Debug, Clone)]
pub(crate) struct StageAttention {
    pub(crate) heads: usize,
    /// Transformer blocks after each resnet.
    pub(crate) depths: Vec<usize>,
}

/// Per-run inputs of the blocks, in the order in which [`super::unet::UNet2DConditionModel`] visits them.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlockInputs {
    pub(crate) time_shifts: Vec<Tensor<3>>,
    pub(crate) text_keys: Vec<Vec<TextKeys>>,
}

/// Position in [`BlockInputs`] during one call.
pub(crate) struct Cursor<'a> {
    pub(crate) call: usize,
    pub(crate) time_shifts: std::slice::Iter<'a, Tensor<3>>,
    pub(crate) text_keys: std::slice::Iter<'a, Vec<TextKeys>>,
}

/// A residual block and the transformer after it.
#[derive(Debug)]
pub(crate) struct Layer {
    resnet: ResnetBlock,
    transformer: Option<Transformer>,
}

/// The transformers of a stage's first `count` layers.
async fn load_transformers(
    root: &Loader<'_>,
    count: usize,
    channels: usize,
    attention: Option<&StageAttention>,
    common: Common,
) -> Result<Vec<Transformer>> {
    let Some(StageAttention { heads, depths }) = attention else { return Ok(Vec::new()) };
    let mut transformers = Vec::with_capacity(count);
    for i in 0..count {
        let place = root.at(format!("attentions.{i}"));
        let (depth, text) = (depths.get(i).copied().unwrap_or_default(), common.text_channels);
        // Boxed: futures this large fill a thread's stack.
        let loading = Box::pin(Transformer::load(&place, channels, *heads, depth, text, common.groups));
        transformers.push(loading.await?);
    }
    Ok(transformers)
}

/// A stage's layers: residual blocks from each of `inputs` channels to `outputs`, and the transformers after the first.
async fn load_layers(
    root: &Loader<'_>,
    inputs: impl Iterator<Item = usize>,
    outputs: usize,
    transformers: Vec<Transformer>,
    common: Common,
) -> Result<Vec<Layer>> {
    let mut transformers = transformers.into_iter();
    let mut layers = Vec::new();
    for (i, inputs) in inputs.enumerate() {
        let place = root.at(format!("resnets.{i}"));
        let time = Some(common.time_channels);
        let resnet = Box::pin(ResnetBlock::load(&place, inputs, outputs, time, common.groups)).await?;
        layers.push(Layer { resnet, transformer: transformers.next() });
    }
    Ok(layers)
}

impl Layer {
    fn prepare_time(&self, activated: &Tensor<3>, inputs: &mut BlockInputs) {
        inputs.time_shifts.extend(self.resnet.time_shift(activated));
    }

    fn prepare_text(&self, prompt_embeds: &Tensor<3>, inputs: &mut BlockInputs) {
        inputs.text_keys.extend(self.transformer.as_ref().map(|it| it.text_keys(prompt_embeds)));
    }

    fn forward(&self, x: Image, skip: Option<Image>, cursor: &mut Cursor<'_>) -> Image {
        let shift = cursor.time_shifts.next().map(|table| (table, cursor.call));
        let x = self.resnet.forward(x, skip.map(|skip| skip.pixels), shift);
        match &self.transformer {
            Some(transformer) => transformer.forward(x, cursor.text_keys.next().map_or(&[], Vec::as_slice)),
            None => x,
        }
    }
}

/// Layers, each of whose results is kept for the way up, then a downsampling convolution unless it is the last stage.
#[derive(Debug)]
pub(crate) struct DownStage {
    layers: Vec<Layer>,
    downsampler: Option<Conv3x3>,
}

impl DownStage {
    pub(crate) async fn load(
        root: &Loader<'_>,
        channels: (usize, usize),
        count: usize,
        attention: Option<&StageAttention>,
        downsample: bool,
        common: Common,
    ) -> Result<Self> {
        let (inputs, outputs) = channels;
        let transformers = load_transformers(root, count, outputs, attention, common).await?;
        let downsampler = if downsample {
            Some(root.at("downsamplers.0.conv").conv3x3(outputs, outputs).await?)
        } else {
            None
        };
        let inputs = (0..count).map(|i| if i == 0 { inputs } else { outputs });
        Ok(Self { layers: load_layers(root, inputs, outputs, transformers, common).await?, downsampler })
    }

    pub(crate) fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter()
    }

    pub(crate) fn forward(&self, mut x: Image, skips: &mut Vec<Image>, cursor: &mut Cursor<'_>) -> Image {
        for layer in &self.layers {
            x = layer.forward(x, None, cursor);
            skips.push(x.clone());
        }
        if let Some(downsampler) = &self.downsampler {
            x = downsampler.forward(x, |mut shape| {
                shape.stride = 2;
                shape
            });
            skips.push(x.clone());
        }
        x
    }
}

/// Two residual blocks around a transformer; one residual block where the middle has no attention.
#[derive(Debug)]
pub(crate) struct MidStage {
    layers: Vec<Layer>,
}

impl MidStage {
    pub(crate) async fn load(
        root: &Loader<'_>,
        channels: usize,
        attention: Option<&StageAttention>,
        common: Common,
    ) -> Result<Self> {
        let transformers = load_transformers(root, 1, channels, attention, common).await?;
        let inputs = std::iter::repeat_n(channels, 1 + transformers.len());
        Ok(Self { layers: load_layers(root, inputs, channels, transformers, common).await? })
    }

    pub(crate) fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter()
    }

    pub(crate) fn forward(&self, x: Image, cursor: &mut Cursor<'_>) -> Image {
        self.layers.iter().fold(x, |x, layer| layer.forward(x, None, cursor))
    }
}

/// Layers over the last result and a kept one, side by side, then an upsampling convolution unless it is the last.
#[derive(Debug)]
pub(crate) struct UpStage {
    layers: Vec<Layer>,
    upsampler: Option<Conv3x3>,
}

/// Channels that meet in an up stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UpChannels {
    /// Of what comes from the stage before.
    pub(crate) previous: usize,
    /// Of this stage's results and of its kept ones but the last.
    pub(crate) own: usize,
    /// Of the last kept one, from a stage further out.
    pub(crate) outer: usize,
}

impl UpStage {
    pub(crate) async fn load(
        root: &Loader<'_>,
        channels: UpChannels,
        count: usize,
        attention: Option<&StageAttention>,
        upsample: bool,
        common: Common,
    ) -> Result<Self> {
        let UpChannels { previous, own, outer } = channels;
        let transformers = load_transformers(root, count, own, attention, common).await?;
        let inputs = (0..count).map(|i| {
            let skip = if i + 1 == count { outer } else { own };
            skip + if i == 0 { previous } else { own }
        });
        let layers = load_layers(root, inputs, own, transformers, common).await?;
        let upsampler =
            if upsample { Some(root.at("upsamplers.0.conv").conv3x3(own, own).await?) } else { None };
        Ok(Self { layers, upsampler })
    }

    pub(crate) fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter()
    }

    pub(crate) fn forward(&self, mut x: Image, skips: &mut Vec<Image>, cursor: &mut Cursor<'_>) -> Image {
        for layer in &self.layers {
            x = layer.forward(x, skips.pop(), cursor);
        }
        let Some(upsampler) = &self.upsampler else { return x };
        let doubled = (x.height * 2, x.width * 2);
        // The size of the next kept result, which is one less than double where the way down rounded up.
        let seen = skips.last().map_or(doubled, |skip| (skip.height, skip.width));
        upsampler.forward(x, |mut shape| {
            shape.seen = seen;
            shape
        })
    }
}

/// Fills [`BlockInputs`] for `layers` with the time embeddings, SiLU applied.
pub(crate) fn prepare_time<'a>(
    layers: impl Iterator<Item = &'a Layer>,
    activated: &Tensor<3>,
    inputs: &mut BlockInputs,
) {
    layers.for_each(|layer| layer.prepare_time(activated, inputs));
}

/// Fills [`BlockInputs`] for `layers` with a prompt's keys and values.
pub(crate) fn prepare_text<'a>(
    layers: impl Iterator<Item = &'a Layer>,
    prompt_embeds: &Tensor<3>,
    inputs: &mut BlockInputs,
) {
    layers.for_each(|layer| layer.prepare_text(prompt_embeds, inputs));
}
