//! `model_index.json`: the classes that a model is made of.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Config;
use super::check::Check;
use crate::error::Result;

/// Pipelines whose parts Easel runs.
const PIPELINES: [&str; 4] = [
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "LatentConsistencyModelPipeline",
    "LatentConsistencyModelImg2ImgPipeline",
];

/// Parts that a picture needs, with the classes that may play them. The scheduler is any: its settings count.
const PARTS: [(&str, &[&str]); 4] = [
    ("unet", &["UNet2DConditionModel"]),
    ("vae", &["AutoencoderKL", "AutoencoderTiny"]),
    ("text_encoder", &["CLIPTextModel"]),
    ("tokenizer", &["CLIPTokenizer", "CLIPTokenizerFast"]),
];

const SCHEDULER: &str = "scheduler";

/// Parts that do not take part in drawing.
const IGNORED: [&str; 3] = ["safety_checker", "feature_extractor", "image_encoder"];

/// `model_index.json` of a diffusers pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ModelIndex {
    /// Class of the pipeline.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// The other members: parts as `[library, class]`, and settings of the pipeline.
    #[serde(flatten)]
    members: BTreeMap<String, Value>,
}

impl ModelIndex {
    /// Path of the file in a model.
    pub const FILE: &str = "model_index.json";

    /// Class of a part (`unet`, `vae`, `text_encoder`, `tokenizer`, `scheduler`, …), `None` where it is
    /// null or absent.
    #[must_use]
    pub fn class(&self, part: &str) -> Option<&str> {
        match self.members.get(part)?.as_array()?.as_slice() {
            [Value::String(_), Value::String(class)] => Some(class),
            _ => None,
        }
    }
}

impl Config for ModelIndex {
    fn validate(&self, file: &str) -> Result<()> {
        let check = Check { file };
        if !PIPELINES.contains(&self.class_name.as_str()) {
            return Err(check.unsupported(&self.class_name, &PIPELINES));
        }
        for (part, classes) in PARTS {
            match self.class(part) {
                None => return check.fail(part, "is missing: a list of a library and a class is needed"),
                Some(class) if !classes.contains(&class) => return Err(check.unsupported(class, classes)),
                Some(_) => {}
            }
        }
        let known = |part: &str| {
            part == SCHEDULER || IGNORED.contains(&part) || PARTS.iter().any(|(name, _)| *name == part)
        };
        let more = self.members.keys().find(|part| !known(part) && self.class(part).is_some());
        match more.and_then(|part| self.class(part)) {
            Some(class) => {
                Err(check.unsupported(class, &["no part beside unet, vae, text_encoder, tokenizer"]))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::source::parse_json;

    const GOOD: &str = r#"{"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1",
        "requires_safety_checker": false, "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "image_encoder": [null, null], "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}"#;

    fn validate(text: &str) -> Result<()> {
        parse_json::<ModelIndex>(ModelIndex::FILE, text)?.validate(ModelIndex::FILE)
    }

    #[test]
    fn good() {
        let index: ModelIndex = parse_json(ModelIndex::FILE, GOOD).unwrap();
        assert_eq!(index.class("vae"), Some("AutoencoderKL"));
        assert_eq!(index.class("scheduler"), Some("PNDMScheduler"));
        assert_eq!(index.class("image_encoder"), None);
        assert_eq!(validate(GOOD), Ok(()));
        let tiny =
            GOOD.replace("AutoencoderKL", "AutoencoderTiny").replace("CLIPTokenizer", "CLIPTokenizerFast");
        assert_eq!(validate(&tiny), Ok(()));
    }

    #[test]
    fn bad() {
        let cases = [
            ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "unsupported_class", "XL"),
            ("UNet2DConditionModel", "FluxTransformer2DModel", "unsupported_class", "Flux"),
            ("CLIPTextModel", "T5EncoderModel", "unsupported_class", "T5"),
            (
                "\"image_encoder\": [null, null]",
                "\"text_encoder_2\": [\"a\", \"B\"]",
                "unsupported_class",
                "`B`",
            ),
            ("\"vae\"", "\"vea\"", "bad_config", "`vae`"),
            ("\"_class_name\"", "\"class\"", "bad_config", "_class_name"),
            ("[\"diffusers\", \"AutoencoderKL\"]", "7", "bad_config", "`vae`"),
        ];
        for (old, new, code, names) in cases {
            let error = validate(&GOOD.replace(old, new)).unwrap_err();
            assert_eq!(error.code(), code, "{new}");
            let text = error.to_string();
            assert!(text.contains("model_index.json") && text.contains(names), "{text}");
        }
    }
}
