//! `CLIPTextModel` (arXiv:2103.00020; transformers `models/clip/modeling_clip.py`).

use burn::tensor::{Device, Tensor, TensorData};

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
    layers: Vec<Layer>,
    final_layer_norm: Norm,
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
    /// Reads the encoder of `folder`, all but the token embedding.
    ///
    /// # Errors
    /// Those of [`Weights`].
    pub async fn load(
        source: &dyn Source,
        folder: &str,
        prefer: Prefer,
        config: ClipTextConfig,
        device: &Device,
    ) -> Result<Self> {
        let weights = Weights::open(source, folder, prefer).await?;
        let root = Loader::new(&weights, device).at("text_model");
        let hidden = config.hidden_size;
        let position_embedding = root
            .at("embeddings")
            .table("position_embedding.weight", config.max_position_embeddings, hidden)
            .await?;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for i in 0..config.num_hidden_layers {
            layers.push(Layer::load(&root.at(format!("encoder.layers.{i}")), &config).await?);
        }
        let final_layer_norm = root.at("final_layer_norm").norm(hidden).await?;
        let device = device.clone();
        Ok(Self {
            config,
            folder: folder.into(),
            prefer,
            device,
            position_embedding,
            layers,
            final_layer_norm,
        })
    }

    /// The last hidden state, normalised, for framed token ids: `[1, ids.len(), hidden_size]`.
    ///
    /// # Errors
    /// Those of [`Weights::read_rows_f32`]; [`Error::Config`] when there are more ids than positions.
    pub async fn forward(&self, source: &dyn Source, ids: &[u32]) -> Result<Tensor<3>> {
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
        Ok(self.encode(Tensor::from_data(TensorData::new(embedded, [1, tokens, hidden]), &self.device)))
    }

    /// The same for embedded tokens, `[1, tokens, hidden_size]`.
    pub(crate) fn encode(&self, embedded: Tensor<3>) -> Tensor<3> {
        let tokens = embedded.dims()[1];
        let mut x = embedded + self.position_embedding.clone().narrow(1, 0, tokens);
        let activation = activation(&self.config);
        for layer in &self.layers {
            x = layer.forward(x, &self.config, activation);
        }
        self.final_layer_norm.layer(x, self.config.layer_norm_eps as f32)
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
            q_proj: attention.at("q_proj").linear(hidden, hidden).await?,
            k_proj: attention.at("k_proj").linear(hidden, hidden).await?,
            v_proj: attention.at("v_proj").linear(hidden, hidden).await?,
            out_proj: attention.at("out_proj").linear(hidden, hidden).await?,
            layer_norm2: root.at("layer_norm2").norm(hidden).await?,
            fc1: root.at("mlp.fc1").linear(hidden, inner).await?,
            fc2: root.at("mlp.fc2").linear(inner, hidden).await?,
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
