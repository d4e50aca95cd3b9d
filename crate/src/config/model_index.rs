//! `model_index.json`: the classes that a model is made of.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Config;
use super::check::Check;
use crate::error::Result;

/// Pipelines whose parts Easel runs.
const PIPELINES: [&str; 8] = [
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "LatentConsistencyModelPipeline",
    "LatentConsistencyModelImg2ImgPipeline",
    "StableDiffusionXLPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionXLInpaintPipeline",
];

/// Those of [`PIPELINES`] that have a second text encoder.
const XL_PIPELINES: [&str; 3] =
    ["StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"];

/// Parts that a picture needs, with the classes that may play them. The scheduler is any: its settings count.
const PARTS: [(&str, &[&str]); 4] = [
    ("unet", &["UNet2DConditionModel"]),
    ("vae", &["AutoencoderKL", "AutoencoderTiny"]),
    ("text_encoder", &["CLIPTextModel"]),
    ("tokenizer", &["CLIPTokenizer", "CLIPTokenizerFast"]),
];

/// Parts that the XL pipelines need beside [`PARTS`].
const XL_PARTS: [(&str, &[&str]); 2] = [
    ("text_encoder_2", &["CLIPTextModelWithProjection"]),
    ("tokenizer_2", &["CLIPTokenizer", "CLIPTokenizerFast"]),
];

const MAX_DEFAULT_STEPS: usize = 100;
const MAX_DEFAULT_GUIDANCE: f64 = 30.0;

const FORCE_ZEROS: &str = "force_zeros_for_empty_prompt";

const SCHEDULER: &str = "scheduler";

/// Parts that do not take part in drawing.
const IGNORED: [&str; 3] = ["safety_checker", "feature_extractor", "image_encoder"];

/// Steps and guidance that suit a model, as `_defaults` of its `model_index.json` names them. diffusers has no place for
/// them and passes over names with an underscore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct CallDefaults {
    /// Sampler steps.
    pub num_inference_steps: Option<usize>,
    /// Guidance scale.
    pub guidance_scale: Option<f64>,
}

/// `model_index.json` of a diffusers pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ModelIndex {
    /// Class of the pipeline.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// What suits the model where a request says nothing.
    #[serde(rename = "_defaults", default)]
    pub defaults: CallDefaults,
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

    /// Whether the model is of the SDXL family: two text encoders, a pooled text embedding and sizes.
    #[must_use]
    pub fn is_xl(&self) -> bool {
        XL_PIPELINES.contains(&self.class_name.as_str())
    }

    /// Whether zeros take the place of an empty negative prompt's embeddings; SDXL's pipeline says yes where the file
    /// does not say.
    #[must_use]
    pub fn force_zeros_for_empty_prompt(&self) -> bool {
        let given = self.members.get(FORCE_ZEROS).and_then(Value::as_bool);
        self.is_xl() && given.unwrap_or(true)
    }

    /// The parts that the pipeline needs.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
        let more: &[_] = if self.is_xl() { &XL_PARTS } else { &[] };
        PARTS.into_iter().chain(more.iter().copied())
    }

    fn validate_settings(&self, check: &Check) -> Result<()> {
        if self.members.get(FORCE_ZEROS).is_some_and(|value| !value.is_boolean() && !value.is_null()) {
            return check.fail(FORCE_ZEROS, "must be true or false");
        }
        if self.members.get("requires_aesthetics_score") == Some(&Value::Bool(true)) {
            let reason = "is true, as in the SDXL refiner: Easel runs base models, which draw from noise";
            return check.fail("requires_aesthetics_score", reason);
        }
        let CallDefaults { num_inference_steps, guidance_scale } = self.defaults;
        if let Some(steps) = num_inference_steps {
            check.between("_defaults.num_inference_steps", steps, 1, MAX_DEFAULT_STEPS)?;
        }
        match guidance_scale {
            Some(scale) if !(0.0..=MAX_DEFAULT_GUIDANCE).contains(&scale) => {
                let reason = format!("is {scale}, outside of 0 to {MAX_DEFAULT_GUIDANCE}");
                check.fail("_defaults.guidance_scale", reason)
            }
            _ => Ok(()),
        }
    }
}

impl Config for ModelIndex {
    fn validate(&self, file: &str) -> Result<()> {
        let check = Check { file };
        if !PIPELINES.contains(&self.class_name.as_str()) {
            return Err(check.unsupported(&self.class_name, &PIPELINES));
        }
        self.validate_settings(&check)?;
        for (part, classes) in self.parts() {
            match self.class(part) {
                None => return check.fail(part, "is missing: a list of a library and a class is needed"),
                Some(class) if !classes.contains(&class) => return Err(check.unsupported(class, classes)),
                Some(_) => {}
            }
        }
        let known = |part: &str| {
            part == SCHEDULER || IGNORED.contains(&part) || self.parts().any(|(name, _)| name == part)
        };
        let more = self.members.keys().find(|part| !known(part) && self.class(part).is_some());
        match more.and_then(|part| self.class(part)) {
            Some(class) => {
                let parts = self.parts().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
                Err(check.unsupported(class, &[&format!("no part beside {parts}")]))
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

    fn xl() -> String {
        GOOD.replace("StableDiffusionPipeline", "StableDiffusionXLPipeline").replacen(
            '{',
            r#"{"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"], "#,
            1,
        )
    }

    #[test]
    fn the_xl_family() {
        assert_eq!(validate(&xl()), Ok(()));
        let zeros = |text: &str| {
            let index: ModelIndex = parse_json(ModelIndex::FILE, text).unwrap();
            (index.is_xl(), index.force_zeros_for_empty_prompt())
        };
        let with = |setting: &str| xl().replacen('{', &format!("{{{setting}, "), 1);
        assert_eq!(zeros(&xl()), (true, true));
        assert_eq!(zeros(&with("\"force_zeros_for_empty_prompt\": false")), (true, false));
        assert_eq!(zeros(GOOD), (false, false));
        for (setting, names) in [
            ("\"force_zeros_for_empty_prompt\": 1", "`force_zeros_for_empty_prompt`"),
            ("\"requires_aesthetics_score\": true", "refiner"),
        ] {
            let error = validate(&with(setting)).unwrap_err();
            assert!(error.code() == "bad_config" && error.to_string().contains(names), "{error}");
        }
        let one_kind = xl().replace("CLIPTextModelWithProjection", "CLIPTextModel");
        assert_eq!(validate(&one_kind).unwrap_err().code(), "unsupported_class");
    }

    #[test]
    fn defaults() {
        let with = |defaults: &str| GOOD.replacen('{', &format!("{{\"_defaults\": {defaults}, "), 1);
        let index: ModelIndex =
            parse_json(ModelIndex::FILE, &with(r#"{"num_inference_steps": 4, "guidance_scale": 1}"#))
                .unwrap();
        let expected = CallDefaults { num_inference_steps: Some(4), guidance_scale: Some(1.0) };
        assert_eq!(index.defaults, expected);
        assert_eq!(validate(&with("{}")), Ok(()));
        for (defaults, field) in [
            (r#"{"num_inference_steps": 0}"#, "num_inference_steps"),
            (r#"{"num_inference_steps": 101}"#, "num_inference_steps"),
            (r#"{"guidance_scale": -1}"#, "guidance_scale"),
            (r#"{"guidance_scale": 1e9}"#, "guidance_scale"),
        ] {
            let error = validate(&with(defaults)).unwrap_err();
            assert!(error.code() == "bad_config" && error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn bad() {
        let cases = [
            ("StableDiffusionPipeline", "StableDiffusion3Pipeline", "unsupported_class", "Diffusion3"),
            ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "bad_config", "`text_encoder_2`"),
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
