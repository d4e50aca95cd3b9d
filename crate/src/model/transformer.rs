//! `Transformer2DModel` with `BasicTransformerBlock`s (diffusers `models/transformers/transformer_2d.py`).

use burn::tensor::Tensor;

use super::layers::{Image, Linear, Loader, Norm};
use super::resnet::Groups;
use crate::error::Result;
use crate::kernel::{Activation, Attention, attention, most_bytes};

/// Epsilons that diffusers fixes in code: `norm` of the transformer, and the blocks' layer norms.
const GROUP_NORM_EPS: f32 = 1e-6;
const LAYER_NORM_EPS: f32 = 1e-5;

/// Attention over the pixels and the text. Channels-last makes its convolutional and its linear projections one.
#[derive(Debug)]
pub(crate) struct Transformer {
    groups: usize,
    norm: Norm,
    proj_in: Linear,
    blocks: Vec<Block>,
    proj_out: Linear,
}

/// Keys and values of one block's cross attention, for one prompt.
#[derive(Debug, Clone)]
pub(crate) struct TextKeys {
    key: Tensor<3>,
    value: Tensor<3>,
}

#[derive(Debug)]
struct Block {
    heads: usize,
    norm1: Norm,
    attn1: Projections,
    norm2: Norm,
    attn2: Projections,
    norm3: Norm,
    ff_in: Linear,
    ff_out: Linear,
}

#[derive(Debug)]
struct Projections {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl Transformer {
    pub(crate) async fn load(
        root: &Loader<'_>,
        channels: usize,
        heads: usize,
        depth: usize,
        text_channels: usize,
        groups: Groups,
    ) -> Result<Self> {
        let norm = root.at("norm").norm(channels).await?;
        let proj_in = root.at("proj_in").linear(channels, channels).await?;
        let proj_out = root.at("proj_out").linear(channels, channels).await?;
        let mut blocks = Vec::with_capacity(depth);
        for i in 0..depth {
            let root = root.at(format!("transformer_blocks.{i}"));
            blocks.push(Block::load(&root, channels, heads, text_channels).await?);
        }
        Ok(Self { groups: groups.count, norm, proj_in, blocks, proj_out })
    }

    /// Keys and values of `prompt_embeds` `[b, tokens, text_channels]`, one pair a block.
    pub(crate) fn text_keys(&self, prompt_embeds: &Tensor<3>) -> Vec<TextKeys> {
        let keys = |block: &Block| TextKeys {
            key: block.attn2.to_k.forward(prompt_embeds.clone()),
            value: block.attn2.to_v.forward(prompt_embeds.clone()),
        };
        self.blocks.iter().map(keys).collect()
    }

    /// `text` is what [`Self::text_keys`] gave.
    pub(crate) fn forward(&self, x: Image, text: &[TextKeys]) -> Image {
        let normed = self.norm.group(x.pixels.clone(), self.groups, GROUP_NORM_EPS, Activation::None);
        let mut hidden = self.proj_in.forward(normed);
        for (block, text) in self.blocks.iter().zip(text) {
            hidden = block.forward(hidden, text);
        }
        Image { pixels: self.proj_out.forward_onto(hidden, x.pixels), ..x }
    }
}

impl Block {
    async fn load(root: &Loader<'_>, channels: usize, heads: usize, text_channels: usize) -> Result<Self> {
        Ok(Self {
            heads,
            attn1: Projections::load(&root.at("attn1"), channels, channels).await?,
            attn2: Projections::load(&root.at("attn2"), channels, text_channels).await?,
            ff_in: root.at("ff.net.0.proj").linear(channels, channels * 8).await?,
            ff_out: root.at("ff.net.2").linear(channels * 4, channels).await?,
            norm1: root.at("norm1").norm(channels).await?,
            norm2: root.at("norm2").norm(channels).await?,
            norm3: root.at("norm3").norm(channels).await?,
        })
    }

    fn forward(&self, x: Tensor<3>, text: &TextKeys) -> Tensor<3> {
        let shape = Attention { heads: self.heads, causal: false };
        let normed = self.norm1.layer(x.clone(), LAYER_NORM_EPS);
        let own = &self.attn1;
        let attended = attention(
            own.to_q.forward(normed.clone()),
            own.to_k.forward(normed.clone()),
            own.to_v.forward(normed),
            shape,
        );
        let x = own.to_out.forward_onto(attended, x);
        let normed = self.norm2.layer(x.clone(), LAYER_NORM_EPS);
        let attended =
            attention(self.attn2.to_q.forward(normed), text.key.clone(), text.value.clone(), shape);
        let x = self.attn2.to_out.forward_onto(attended, x);
        let normed = self.norm3.layer(x.clone(), LAYER_NORM_EPS);
        self.feed_forward(normed, x)
    }
}

impl Block {
    /// In parts of the rows where the inner activation is more than a tensor may have: eight times as wide as far as
    /// adapters add to it, which the gate comes after.
    fn feed_forward(&self, normed: Tensor<3>, residual: Tensor<3>) -> Tensor<3> {
        let [b, rows, channels] = normed.dims();
        let row_bytes = (channels * 8 * normed.dtype().size()) as u64;
        let most_rows = (most_bytes(&normed) / row_bytes).max(1) as usize;
        if b * rows <= most_rows {
            return self.ff_out.forward_onto(self.ff_in.forward_then(normed, Activation::Geglu), residual);
        }
        let flat = |x: Tensor<3>| x.reshape([1, b * rows, channels]);
        let (normed, residual) = (flat(normed), flat(residual));
        let part = |start: usize| {
            let count = most_rows.min(b * rows - start);
            let (x, residual) =
                (normed.clone().narrow(1, start, count), residual.clone().narrow(1, start, count));
            self.ff_out.forward_onto(self.ff_in.forward_then(x, Activation::Geglu), residual)
        };
        Tensor::cat((0..b * rows).step_by(most_rows).map(part).collect(), 1).reshape([b, rows, channels])
    }
}

impl Projections {
    async fn load(root: &Loader<'_>, channels: usize, key_channels: usize) -> Result<Self> {
        Ok(Self {
            to_k: root.at("to_k").linear_without_bias(key_channels, channels).await?,
            to_out: root.at("to_out.0").linear(channels, channels).await?,
            to_q: root.at("to_q").linear_without_bias(channels, channels).await?,
            to_v: root.at("to_v").linear_without_bias(key_channels, channels).await?,
        })
    }
}
