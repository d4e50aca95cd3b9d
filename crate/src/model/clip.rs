//! `CLIPTextModel` and `CLIPTextModelWithProjection` (arXiv:2103.00020; transformers
//! `models/clip/modeling_clip.py`).

use std::rc::Rc;

use burn::tensor::{Device, Tensor, TensorData};

use super::adapters::{Adaptable, Adapters};
use super::layers::{Linear, Loader, Norm};
use crate::config::{ClipTextConfig, HiddenAct};
use crate::error::{Error, Result};
use crate::kernel::{Activation, Attention, attention};
use crate::weights::source::Source;
use crate::weights::{Prefer, Weights};

/// A text encoder. The token embedding stays in its file: the rows of a prompt's tokens are read from there.
pub struct ClipTextModel {
    config: ClipTextConfig,
    folder: String,
    prefer: Prefer,
    device: Device,
    position_embedding: Tensor<3>,
    /// Those whose result is given away.
    layers: Vec<Layer>,
    head: Head,
    adaptable: Adaptable,
}

/// What a model takes from its text encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextOutput {
    /// `last_hidden_state`, which is normalised: Stable Diffusion 1 and 2.
    LastHiddenState,
    /// `hidden_states[-2]`, what the last layer would get: the first encoder of SDXL.
    Penultimate,
    /// The same, and `text_embeds`: the second encoder of SDXL.
    PenultimateAndTextEmbeds,
}

/// A text as its encoder gives it.
#[derive(Debug, Clone)]
pub struct EncodedText {
    /// `[1, tokens, hidden_size]`.
    pub hidden_state: Tensor<3>,
    /// The pooled and projected text, `[1, 1, projection_dim]`, where it was asked for.
    pub text_embeds: Option<Tensor<3>>,
}

/// What comes after [`ClipTextModel::layers`].
enum Head {
    Norm(Box<Norm>),
    Nothing,
    TextEmbeds(Box<TextEmbeds>),
}

struct TextEmbeds {
    last_layer: Layer,
    final_layer_norm: Norm,
    text_projection: Linear,
}

struct Layer {
    layer_norm1: Norm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: Norm,
    fc1: Linear,
    fc2: Linear,
}

impl ClipTextModel {
    /// Reads what gives `output` of the encoder of `folder`, all but the token embedding.
    ///
    /// # Errors
    /// Those of [`Weights`].
    pub async fn load(
        source: &dyn Source,
        folder: &str,
        prefer: Prefer,
        config: ClipTextConfig,
        output: TextOutput,
        device: &Device,
    ) -> Result<Self> {
        let weights = Weights::open(source, folder, prefer).await?;
        let top = Loader::new(&weights, device);
        let root = top.at("text_model");
        let hidden = config.hidden_size;
        let position_embedding = root
            .at("embeddings")
            .table("position_embedding.weight", config.max_position_embeddings, hidden)
            .await?;
        let last = config.num_hidden_layers - 1;
        let count = if output == TextOutput::LastHiddenState { last + 1 } else { last };
        let layer = |i: usize| root.at(format!("encoder.layers.{i}"));
        let mut layers = Vec::with_capacity(count);
        for i in 0..count {
            layers.push(Layer::load(&layer(i), &config).await?);
        }
        let norm = root.at("final_layer_norm");
        let head = match output {
            TextOutput::LastHiddenState => Head::Norm(Box::new(norm.norm(hidden).await?)),
            TextOutput::Penultimate => {
                layer(last).note_unused();
                Head::Nothing
            }
            TextOutput::PenultimateAndTextEmbeds => Head::TextEmbeds(Box::new(TextEmbeds {
                last_layer: Layer::load(&layer(last), &config).await?,
                final_layer_norm: norm.norm(hidden).await?,
                text_projection: top
                    .at("text_projection")
                    .linear_without_bias(hidden, config.projection_dim)
                    .await?,
            })),
        };
        let (device, adaptable) = (device.clone(), top.adaptable());
        let folder = folder.into();
        Ok(Self { config, folder, prefer, device, position_embedding, layers, head, adaptable })
    }

    /// The layers that adapters can stand beside.
    pub(crate) fn adaptable(&self) -> &Adaptable {
        &self.adaptable
    }

    /// Encodes framed token ids with `adapters` beside the layers, and no others.
    ///
    /// # Errors
    /// Those of [`Weights::read_rows_f32`]; [`Error::Config`] when there are more ids than positions.
    pub(crate) async fn forward(
        &self,
        source: &dyn Source,
        ids: &[u32],
        adapters: &Rc<Adapters>,
    ) -> Result<EncodedText> {
        let (tokens, hidden) = (ids.len(), self.config.hidden_size);
        if tokens > self.config.max_position_embeddings {
            let reason =
                format!("is {}, the tokenizer frames {tokens} tokens", self.config.max_position_embeddings);
            let file = format!("{}/config.json", self.folder);
            return Err(Error::Config { file, field: "max_position_embeddings".into(), reason });
        }
        let weights = Weights::open(source, &self.folder, self.prefer).await?;
        let rows: Vec<usize> = ids.iter().map(|id| *id as usize).collect();
        let name = "text_model.embeddings.token_embedding.weight";
        let embedded = weights.read_rows_f32(name, [self.config.vocab_size, hidden], &rows).await?;
        let embedded = Tensor::from_data(TensorData::new(embedded, [1, tokens, hidden]), &self.device);
        // After the last await: meanwhile another run may have put its own there.
        self.adaptable.install(adapters);
        Ok(self.encode(embedded, self.config.pooled_position(ids)))
    }

    /// [`Self::forward`] for embedded tokens, `[1, tokens, hidden_size]`, and the place of the text's end.
    pub(crate) fn encode(&self, embedded: Tensor<3>, pooled_position: usize) -> EncodedText {
        let [_, tokens, _] = embedded.dims();
        let (config, eps) = (&self.config, self.config.layer_norm_eps as f32);
        let activation = activation(config);
        let mut x = embedded + self.position_embedding.clone().narrow(1, 0, tokens);
        for layer in &self.layers {
            x = layer.forward(x, config, activation);
        }
        match &self.head {
            Head::Norm(norm) => EncodedText { hidden_state: norm.layer(x, eps), text_embeds: None },
            Head::Nothing => EncodedText { hidden_state: x, text_embeds: None },
            Head::TextEmbeds(head) => {
                let last = head.last_layer.forward(x.clone(), config, activation);
                let pooled = head.final_layer_norm.layer(last.narrow(1, pooled_position, 1), eps);
                EncodedText { hidden_state: x, text_embeds: Some(head.text_projection.forward(pooled)) }
            }
        }
    }
}

fn activation(config: &ClipTextConfig) -> Activation {
    match config.hidden_act {
        HiddenAct::QuickGelu => Activation::QuickGelu,
        HiddenAct::Gelu => Activation::Gelu,
    }
}

impl Layer {
    async fn load(root: &Loader<'_>, config: &ClipTextConfig) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let attention = root.at("self_attn");
        Ok(Self {
            layer_norm1: root.at("layer_norm1").norm(hidden).await?,
            layer_norm2: root.at("layer_norm2").norm(hidden).await?,
            fc1: root.at("mlp.fc1").linear(hidden, inner).await?,
            fc2: root.at("mlp.fc2").linear(inner, hidden).await?,
            k_proj: attention.at("k_proj").linear(hidden, hidden).await?,
            out_proj: attention.at("out_proj").linear(hidden, hidden).await?,
            q_proj: attention.at("q_proj").linear(hidden, hidden).await?,
            v_proj: attention.at("v_proj").linear(hidden, hidden).await?,
        })
    }

    fn forward(&self, x: Tensor<3>, config: &ClipTextConfig, activation: Activation) -> Tensor<3> {
        let normed = self.layer_norm1.layer(x.clone(), config.layer_norm_eps as f32);
        let shape = Attention { heads: config.num_attention_heads, causal: true };
        let attended = attention(
            self.q_proj.forward(normed.clone()),
            self.k_proj.forward(normed.clone()),
            self.v_proj.forward(normed),
            shape,
        );
        let x = self.out_proj.forward_onto(attended, x);
        let normed = self.layer_norm2.layer(x.clone(), config.layer_norm_eps as f32);
        self.fc2.forward_onto(self.fc1.forward_then(normed, activation), x)
    }
}
