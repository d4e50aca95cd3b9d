//! What PEFT's configuration, which diffusers writes into a LoRA file's header, says of the scale.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Part, other_method};
use crate::error::{Error, Result};

/// Key of the header's texts (`LORA_ADAPTER_METADATA_KEY` in diffusers `loaders/lora_base.py`).
const METADATA: &str = "lora_adapter_metadata";

/// Alphas by part; without any, alpha is the rank.
#[derive(Debug, Clone, Default)]
pub(super) struct Alphas {
    parts: BTreeMap<Part, PartAlphas>,
}

#[derive(Debug, Clone)]
struct PartAlphas {
    alpha: f64,
    /// By ends of layers' names.
    patterns: Vec<(String, f64)>,
    /// Divided by the rank's square root (arXiv:2312.03732).
    rank_stabilized: bool,
}

const PARTS: [(&str, Part); 3] =
    [("unet", Part::Unet), ("text_encoder", Part::TextEncoder), ("text_encoder_2", Part::TextEncoder2)];

impl Alphas {
    pub(super) fn read(path: &str, metadata: &BTreeMap<String, String>) -> Result<Self> {
        let Some(text) = metadata.get(METADATA) else { return Ok(Self::default()) };
        let bad =
            |reason: String| Error::Config { file: path.to_owned(), field: METADATA.to_owned(), reason };
        let config: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| bad(format!("is no JSON object: {error}")))?;
        let mut parts = BTreeMap::new();
        for (prefix, part) in PARTS {
            let field = |name: &str| config.get(&format!("{prefix}.{name}"));
            let is_set = |name: &str| field(name).and_then(Value::as_bool) == Some(true);
            if is_set("use_dora") {
                return Err(other_method(path, METADATA, "DoRA"));
            }
            if is_set("lora_bias") {
                return Err(other_method(path, METADATA, "LoRA with biases"));
            }
            let Some(alpha) = field("lora_alpha") else { continue };
            let alpha = alpha.as_f64().ok_or_else(|| bad(format!("has the `lora_alpha` {alpha}")))?;
            let patterns = field("alpha_pattern").and_then(Value::as_object).into_iter().flatten();
            let pattern = |(name, alpha): (&String, &Value)| Some((name.clone(), alpha.as_f64()?));
            let patterns = patterns.filter_map(pattern).collect();
            parts.insert(part, PartAlphas { alpha, patterns, rank_stabilized: is_set("use_rslora") });
        }
        Ok(Self { parts })
    }

    /// The scale of a layer of this rank.
    pub(super) fn scale(&self, part: Part, module: &str, rank: usize) -> f32 {
        let Some(alphas) = self.parts.get(&part) else { return 1.0 };
        let pattern = alphas.patterns.iter().find(|(pattern, _)| is_of(module, pattern));
        let alpha = pattern.map_or(alphas.alpha, |(_, alpha)| *alpha);
        let rank = rank as f64;
        (alpha / if alphas.rank_stabilized { rank.sqrt() } else { rank }) as f32
    }
}

/// Whether a pattern means a layer: its whole name after `^`, or whole parts at its end. PEFT reads patterns as regular
/// expressions, but those that it writes are names.
fn is_of(module: &str, pattern: &str) -> bool {
    if let Some(whole) = pattern.strip_prefix('^') {
        return module == whole;
    }
    module.strip_suffix(pattern).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}
