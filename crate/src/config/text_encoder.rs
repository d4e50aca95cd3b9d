//! `text_encoder/config.json`: transformers' `CLIPTextConfig` (`models/clip/configuration_clip.py`), same names
//! and defaults.

use serde::Deserialize;

use super::check::{Check, MAX_CHANNELS, MAX_LAYERS};
use super::{Config, OneOrMany};
use crate::error::Result;
use crate::weights::source::{Source, read_json};

/// Activation of the feed-forward layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum HiddenAct {
    /// `x * sigmoid(1.702 x)`, of OpenAI's CLIP.
    #[serde(rename = "quick_gelu")]
    QuickGelu,
    /// The exact one, with the error function, of OpenCLIP.
    #[serde(rename = "gelu")]
    Gelu,
}

/// `eos_token_id` of configs that were written before transformers used it.
const EARLY_EOS: u32 = 2;

/// Configuration of a `CLIPTextModel`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are documented by transformers")]
pub struct ClipTextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    /// Width of a pooled and projected text (`CLIPTextModelWithProjection`).
    pub projection_dim: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub max_position_embeddings: usize,
    pub hidden_act: HiddenAct,
    pub layer_norm_eps: f64,
    pub bos_token_id: Option<u32>,
    pub eos_token_id: Option<OneOrMany<u32>>,
    pub pad_token_id: Option<u32>,
    /// The configuration proper, where the file is that of a whole CLIP model; [`Self::load`] unwraps it.
    text_config: Option<Box<Self>>,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: HiddenAct::QuickGelu,
            layer_norm_eps: 1e-5,
            bos_token_id: Some(49406),
            eos_token_id: Some(OneOrMany::One(49407)),
            pad_token_id: Some(1),
            text_config: None,
        }
    }
}

impl ClipTextConfig {
    /// Reads and validates the file at `path`, or the `text_config` in it.
    ///
    /// # Errors
    /// Those of [`read_json`] and [`Config::validate`].
    pub async fn load(source: &dyn Source, path: &str) -> Result<Self> {
        let mut config: Self = read_json(source, path).await?;
        if let Some(text_config) = config.text_config.take() {
            config = *text_config;
        }
        config.validate(path)?;
        Ok(config)
    }

    /// Index of the state that stands for a whole text, which is that of its end (`CLIPTextModel.forward`): where the
    /// first `eos_token_id` is. Early configs say 2 and mean the highest id, which is the end in CLIP's vocabulary.
    #[must_use]
    pub fn pooled_position(&self, ids: &[u32]) -> usize {
        let end = match self.eos_token_id.as_ref().and_then(|ids| ids.values().first()) {
            None | Some(&EARLY_EOS) => ids.iter().max(),
            Some(end) => Some(end),
        };
        ids.iter().position(|id| Some(id) == end).unwrap_or(0)
    }
}

impl Config for ClipTextConfig {
    fn validate(&self, file: &str) -> Result<()> {
        let check = Check { file };
        check.between("vocab_size", self.vocab_size, 1, 1 << 20)?;
        check.between("hidden_size", self.hidden_size, 1, MAX_CHANNELS)?;
        check.between("intermediate_size", self.intermediate_size, 1, 4 * MAX_CHANNELS)?;
        check.between("projection_dim", self.projection_dim, 1, MAX_CHANNELS)?;
        check.between("num_hidden_layers", self.num_hidden_layers, 1, MAX_LAYERS)?;
        // Room for a begin, a word and an end.
        check.between("max_position_embeddings", self.max_position_embeddings, 3, 4096)?;
        check.heads("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        check.positive("layer_norm_eps", self.layer_norm_eps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::block_on;
    use crate::weights::source::MemorySource;

    fn load(text: &str) -> Result<ClipTextConfig> {
        let mut source = MemorySource::default();
        source.insert("text_encoder/config.json", text);
        block_on(ClipTextConfig::load(&source, "text_encoder/config.json"))
    }

    #[test]
    fn flat_nested_and_default() {
        assert_eq!(load("{}").unwrap(), ClipTextConfig::default());
        let flat = load(r#"{"hidden_size": 1024, "hidden_act": "gelu", "num_hidden_layers": 23}"#).unwrap();
        assert_eq!((flat.hidden_size, flat.hidden_act, flat.num_hidden_layers), (1024, HiddenAct::Gelu, 23));
        let nested =
            load(r#"{"text_config": {"hidden_size": 768, "num_attention_heads": 12}, "vision_config": {}}"#);
        assert_eq!(nested.unwrap().hidden_size, 768);
        assert!(load(r#"{"eos_token_id": [1, 2], "pad_token_id": null}"#).is_ok());
    }

    #[test]
    fn pooled() {
        let position = |text: &str, ids: &[u32]| load(text).unwrap().pooled_position(ids);
        assert_eq!(position("{}", &[49406, 5, 49407, 0, 49407]), 2);
        assert_eq!(position(r#"{"eos_token_id": 2}"#, &[49406, 2, 49407, 0, 49407]), 2);
        assert_eq!(position(r#"{"eos_token_id": 7}"#, &[49406, 5, 49407]), 0);
    }

    #[test]
    fn refused() {
        for (field, value) in [
            ("hidden_act", "\"relu\""),
            ("hidden_size", "-1"),
            ("projection_dim", "0"),
            ("num_attention_heads", "7"),
            ("num_attention_heads", "0"),
            ("num_attention_heads", "1, \"hidden_size\": 1028"),
            ("num_hidden_layers", "65"),
            ("max_position_embeddings", "2"),
            ("max_position_embeddings", "1e9"),
            ("vocab_size", "9999999999"),
            ("layer_norm_eps", "0"),
        ] {
            let error = load(&format!("{{\"{field}\": {value}}}")).expect_err(field).to_string();
            assert!(error.starts_with(&format!("text_encoder/config.json: field `{field}`")), "{error}");
        }
    }
}
