//! `AutoencoderTiny` (TAESD; diffusers `models/autoencoders/autoencoder_tiny.py` and `vae.py`).

use burn::tensor::Device;
use burn::tensor::activation::relu;

use super::layers::{Conv3x3, Image, Linear, Loader};
use super::slabs::{Slabs, joined};
use crate::config::AutoencoderTinyConfig;
use crate::error::Result;
use crate::kernel::{Activation, Conv2d};
use crate::weights::Weights;

/// One entry of the `layers` sequence that has weights, or the upsampling, which moves into the next convolution.
enum Layer {
    Conv { conv: Box<Conv3x3>, stride: usize, upsample: usize, activation: Activation },
    Block(Box<Block>),
}

/// Three convolutions, a shortcut, and a rectifier behind the sum.
struct Block {
    conv0: Conv3x3,
    conv2: Conv3x3,
    conv4: Conv3x3,
    skip: Option<Linear>,
}

/// The half that turns latents into a picture.
pub(crate) struct TinyDecoder(Vec<Layer>);

/// The half that turns a picture into latents.
pub(crate) struct TinyEncoder(Vec<Layer>);

impl TinyDecoder {
    pub(crate) async fn load(
        weights: &Weights<'_>,
        config: &AutoencoderTinyConfig,
        device: &Device,
    ) -> Result<Self> {
        let top = Loader::new(weights, device);
        let root = top.at("decoder.layers");
        let channels = &config.decoder_block_out_channels;
        let first = root.at(0).conv3x3(config.latent_channels, channels[0]).await?;
        let mut layers = vec![Layer::conv(first, 1, Activation::Relu)];
        // The rectifier behind the first convolution is entry 1 of the sequence.
        let mut index = 2;
        for (i, blocks) in config.num_decoder_blocks.iter().enumerate() {
            let last = i + 1 == config.num_decoder_blocks.len();
            for _ in 0..*blocks {
                let block = Block::load(&root.at(index), channels[i], channels[i]).await?;
                layers.push(Layer::Block(Box::new(block)));
                index += 1;
            }
            // The upsampling before all convolutions but the last is an entry too.
            index += usize::from(!last);
            let outputs = if last { config.out_channels } else { channels[i] };
            let conv = root.at(index).conv3x3(channels[i], outputs).await?;
            let upsample = if last { 1 } else { 2 };
            layers.push(Layer::Conv {
                conv: Box::new(conv),
                stride: 1,
                upsample,
                activation: Activation::None,
            });
            index += 1;
        }
        Ok(Self(layers))
    }

    /// Latents to a picture in -1..1, in slabs of at most so many bytes.
    pub(crate) fn forward(&self, mut x: Image, slab_bytes: usize) -> Image {
        x.pixels = (x.pixels / 3.0).tanh() * 3.0;
        let mut x = forward(&self.0, Slabs::new(x, slab_bytes));
        x.pixels = x.pixels * 2.0 - 1.0;
        x
    }
}

impl TinyEncoder {
    pub(crate) async fn load(
        weights: &Weights<'_>,
        config: &AutoencoderTinyConfig,
        device: &Device,
    ) -> Result<Self> {
        let top = Loader::new(weights, device);
        let root = top.at("encoder.layers");
        let channels = &config.encoder_block_out_channels;
        let mut layers = Vec::new();
        let mut index = 0;
        for (i, blocks) in config.num_encoder_blocks.iter().enumerate() {
            let inputs = if i == 0 { config.in_channels } else { channels[i] };
            let conv = root.at(index).conv3x3(inputs, channels[i]).await?;
            layers.push(Layer::conv(conv, if i == 0 { 1 } else { 2 }, Activation::None));
            index += 1;
            for _ in 0..*blocks {
                let block = Block::load(&root.at(index), channels[i], channels[i]).await?;
                layers.push(Layer::Block(Box::new(block)));
                index += 1;
            }
        }
        let last = channels[channels.len() - 1];
        let conv = root.at(index).conv3x3(last, config.latent_channels).await?;
        layers.push(Layer::conv(conv, 1, Activation::None));
        Ok(Self(layers))
    }

    /// A picture in -1..1 to its latents, in slabs of at most so many bytes.
    pub(crate) fn forward(&self, mut x: Image, slab_bytes: usize) -> Image {
        x.pixels = (x.pixels + 1.0) / 2.0;
        forward(&self.0, Slabs::new(x, slab_bytes))
    }
}

fn forward(layers: &[Layer], x: Slabs) -> Image {
    layers.iter().fold(x, |x, layer| layer.forward(x)).whole()
}

impl Layer {
    fn conv(conv: Conv3x3, stride: usize, activation: Activation) -> Self {
        Self::Conv { conv: Box::new(conv), stride, upsample: 1, activation }
    }

    fn forward(&self, x: Slabs) -> Slabs {
        match self {
            Self::Conv { conv, stride, upsample, activation } => x.conv_only(conv, |same| Conv2d {
                stride: *stride,
                seen: (same.height * upsample, same.width * upsample),
                activation: *activation,
                ..same
            }),
            Self::Block(block) => block.forward(x),
        }
    }
}

impl Block {
    async fn load(root: &Loader<'_>, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self {
            conv0: root.at("conv.0").conv3x3(inputs, outputs).await?,
            conv2: root.at("conv.2").conv3x3(outputs, outputs).await?,
            conv4: root.at("conv.4").conv3x3(outputs, outputs).await?,
            skip: if root.has("skip.weight") {
                Some(root.at("skip").linear_without_bias(inputs, outputs).await?)
            } else {
                None
            },
        })
    }

    fn forward(&self, x: Slabs) -> Slabs {
        let rectified = |same| Conv2d { activation: Activation::Relu, ..same };
        let shortcut = match &self.skip {
            Some(skip) => x.clone().map(|pixels| skip.forward(pixels)),
            None => x.clone(),
        };
        let hidden = x.conv_only(&self.conv0, rectified).conv_only(&self.conv2, rectified);
        hidden.conv(&self.conv4, |same| same, Some(shortcut), joined).map(relu)
    }
}
