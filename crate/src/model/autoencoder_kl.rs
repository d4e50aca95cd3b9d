//! `AutoencoderKL` (diffusers `models/autoencoders/autoencoder_kl.py`): decoder and encoder.

use burn::tensor::{Device, Tensor};

use super::layers::{Conv3x3, Image, Linear, Loader, Norm};
use super::resnet::{Groups, ResnetBlock};
use super::slabs::{Normed, Slabs};
use crate::config::AutoencoderKLConfig;
use crate::error::Result;
use crate::kernel::memory::free_unused;
use crate::kernel::{Activation, Attention, Conv2d, attention};
use crate::weights::Weights;

/// The epsilon that diffusers fixes in code for every norm of the autoencoder.
const EPS: f32 = 1e-6;

/// The half that turns latents into a picture.
pub(crate) struct Decoder {
    groups: Groups,
    post_quant_conv: Option<Linear>,
    conv_in: Conv3x3,
    mid: Mid,
    stages: Vec<Stage>,
    conv_norm_out: Norm,
    conv_out: Conv3x3,
}

/// The half that turns a picture into the moments of its latents.
pub(crate) struct Encoder {
    groups: Groups,
    conv_in: Conv3x3,
    stages: Vec<Stage>,
    mid: Mid,
    conv_norm_out: Norm,
    conv_out: Conv3x3,
    quant_conv: Option<Linear>,
}

struct Stage {
    resnets: Vec<ResnetBlock>,
    resize: Option<Conv3x3>,
}

struct Mid {
    first: ResnetBlock,
    attention: Option<MidAttention>,
    last: ResnetBlock,
}

struct MidAttention {
    groups: Groups,
    group_norm: Norm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl Decoder {
    pub(crate) async fn load(
        weights: &Weights<'_>,
        config: &AutoencoderKLConfig,
        device: &Device,
    ) -> Result<Self> {
        let top = Loader::new(weights, device);
        let root = top.at("decoder");
        let groups = Groups { count: config.norm_num_groups, eps: EPS };
        let channels: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let latent = config.latent_channels;
        Ok(Self {
            groups,
            conv_in: root.at("conv_in").conv3x3(latent, first).await?,
            conv_norm_out: root.at("conv_norm_out").norm(last).await?,
            conv_out: root.at("conv_out").conv3x3(last, config.out_channels).await?,
            mid: Mid::load(&root.at("mid_block"), first, config.mid_block_add_attention, groups).await?,
            stages: Stage::load_all(
                &root,
                ["up_blocks", "upsamplers"],
                &channels,
                config.layers_per_block + 1,
                groups,
            )
            .await?,
            post_quant_conv: if config.use_post_quant_conv {
                Some(top.at("post_quant_conv").linear(latent, latent).await?)
            } else {
                None
            },
        })
    }

    /// Latents, scaling undone, to a picture in -1..1, in slabs of at most so many bytes.
    pub(crate) fn forward(&self, mut x: Image, slab_bytes: usize) -> Image {
        if let Some(conv) = &self.post_quant_conv {
            x.pixels = conv.forward(x.pixels);
        }
        let device = x.pixels.device();
        let x = Slabs::new(x, slab_bytes).conv_only(&self.conv_in, |same| same);
        let mut x = self.mid.forward(x, slab_bytes);
        // Attention had pages for all pixels: a slab would take a whole one and leave the rest of it unused.
        free_unused(&device);
        for stage in &self.stages {
            x = stage.resnets(x);
            if let Some(conv) = &stage.resize {
                x = x.conv_only(conv, |same| Conv2d { seen: (same.height * 2, same.width * 2), ..same });
            }
        }
        let normed = Normed::of(&x, &self.conv_norm_out, self.groups, Activation::Silu);
        x.conv(&self.conv_out, |same| same, None, |pieces| normed.pixels(pieces)).whole()
    }
}

impl Encoder {
    pub(crate) async fn load(
        weights: &Weights<'_>,
        config: &AutoencoderKLConfig,
        device: &Device,
    ) -> Result<Self> {
        let top = Loader::new(weights, device);
        let root = top.at("encoder");
        let groups = Groups { count: config.norm_num_groups, eps: EPS };
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let moments = config.latent_channels * 2;
        Ok(Self {
            groups,
            conv_in: root.at("conv_in").conv3x3(config.in_channels, first).await?,
            conv_norm_out: root.at("conv_norm_out").norm(last).await?,
            conv_out: root.at("conv_out").conv3x3(last, moments).await?,
            stages: Stage::load_all(
                &root,
                ["down_blocks", "downsamplers"],
                channels,
                config.layers_per_block,
                groups,
            )
            .await?,
            mid: Mid::load(&root.at("mid_block"), last, config.mid_block_add_attention, groups).await?,
            quant_conv: if config.use_quant_conv {
                Some(top.at("quant_conv").linear(moments, moments).await?)
            } else {
                None
            },
        })
    }

    /// A picture in -1..1 to the means of its latents, not yet scaled, and then the logarithms of their variances; in
    /// slabs of at most so many bytes.
    pub(crate) fn forward(&self, x: Image, slab_bytes: usize) -> Image {
        let mut x = Slabs::new(x, slab_bytes).conv_only(&self.conv_in, |same| same);
        for stage in &self.stages {
            x = stage.resnets(x);
            if let Some(conv) = &stage.resize {
                // diffusers pads below and to the right only.
                x = x.conv_only(conv, |same| Conv2d { stride: 2, above: 0, left: 0, ..same });
            }
        }
        let x = self.mid.forward(x, slab_bytes);
        let normed = Normed::of(&x, &self.conv_norm_out, self.groups, Activation::Silu);
        let mut x = x.conv(&self.conv_out, |same| same, None, |pieces| normed.pixels(pieces)).whole();
        if let Some(conv) = &self.quant_conv {
            x.pixels = conv.forward(x.pixels);
        }
        x
    }
}

impl Stage {
    /// The stages of one half, with `count` blocks each; all but the last have a convolution that changes the size.
    async fn load_all(
        root: &Loader<'_>,
        [name, resize]: [&str; 2],
        channels: &[usize],
        count: usize,
        groups: Groups,
    ) -> Result<Vec<Self>> {
        let resize = format!("{resize}.0.conv");
        let mut stages = Vec::with_capacity(channels.len());
        for (i, outputs) in channels.iter().enumerate() {
            let inputs = channels[i.saturating_sub(1)];
            let resize = (i + 1 < channels.len()).then_some(resize.as_str());
            let place = root.at(format!("{name}.{i}"));
            stages.push(Self::load(&place, (inputs, *outputs), count, resize, groups).await?);
        }
        Ok(stages)
    }

    async fn load(
        root: &Loader<'_>,
        channels: (usize, usize),
        count: usize,
        resize: Option<&str>,
        groups: Groups,
    ) -> Result<Self> {
        let (inputs, outputs) = channels;
        let mut resnets = Vec::with_capacity(count);
        for i in 0..count {
            let inputs = if i == 0 { inputs } else { outputs };
            let place = root.at(format!("resnets.{i}"));
            resnets.push(ResnetBlock::load(&place, inputs, outputs, None, groups).await?);
        }
        let resize = match resize {
            Some(name) => Some(root.at(name).conv3x3(outputs, outputs).await?),
            None => None,
        };
        Ok(Self { resnets, resize })
    }

    fn resnets(&self, x: Slabs) -> Slabs {
        self.resnets.iter().fold(x, |x, resnet| resnet.forward_in_slabs(x))
    }
}

impl Mid {
    async fn load(root: &Loader<'_>, channels: usize, with_attention: bool, groups: Groups) -> Result<Self> {
        let resnet = |i: usize| root.at(format!("resnets.{i}"));
        let place = root.at("attentions.0");
        Ok(Self {
            attention: if with_attention {
                Some(MidAttention {
                    groups,
                    group_norm: place.at("group_norm").norm(channels).await?,
                    to_k: place.at("to_k").linear(channels, channels).await?,
                    to_out: place.at("to_out.0").linear(channels, channels).await?,
                    to_q: place.at("to_q").linear(channels, channels).await?,
                    to_v: place.at("to_v").linear(channels, channels).await?,
                })
            } else {
                None
            },
            first: ResnetBlock::load(&resnet(0), channels, channels, None, groups).await?,
            last: ResnetBlock::load(&resnet(1), channels, channels, None, groups).await?,
        })
    }

    fn forward(&self, x: Slabs, slab_bytes: usize) -> Slabs {
        let mut x = self.first.forward_in_slabs(x);
        if let Some(attention) = &self.attention {
            // Every pixel sees every other.
            let mut whole = x.whole();
            whole.pixels = attention.forward(whole.pixels);
            x = Slabs::new(whole, slab_bytes);
        }
        self.last.forward_in_slabs(x)
    }
}

impl MidAttention {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let Groups { count, eps } = self.groups;
        let normed = self.group_norm.group(x.clone(), count, eps, Activation::None);
        let attended = attention(
            self.to_q.forward(normed.clone()),
            self.to_k.forward(normed.clone()),
            self.to_v.forward(normed),
            Attention { heads: 1, causal: false },
        );
        self.to_out.forward_onto(attended, x)
    }
}
