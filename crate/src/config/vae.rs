//! `vae/config.json`: the arguments of diffusers' `AutoencoderKL` and `AutoencoderTiny`
//! (`models/autoencoders/`), same names and defaults.

use serde::Deserialize;

use super::Config;
use super::check::{Check, MAX_LAYERS};
use crate::error::Result;
use crate::weights::source::{Source, read_json};

const DOWN_BLOCK: &str = "DownEncoderBlock2D";
const UP_BLOCK: &str = "UpDecoderBlock2D";
const KL: &str = "AutoencoderKL";
const TINY: &str = "AutoencoderTiny";
const MAX_LATENT_CHANNELS: usize = 64;

/// Configuration of an `AutoencoderKL`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are documented by diffusers")]
pub struct AutoencoderKLConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    pub down_block_types: Vec<String>,
    pub up_block_types: Vec<String>,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    pub act_fn: String,
    pub latent_channels: usize,
    pub norm_num_groups: usize,
    pub scaling_factor: f64,
    pub shift_factor: Option<f64>,
    pub latents_mean: Option<Vec<f64>>,
    pub latents_std: Option<Vec<f64>>,
    pub use_quant_conv: bool,
    pub use_post_quant_conv: bool,
    pub mid_block_add_attention: bool,
}

impl Default for AutoencoderKLConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec![DOWN_BLOCK.to_owned()],
            up_block_types: vec![UP_BLOCK.to_owned()],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: "silu".to_owned(),
            latent_channels: 4,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl AutoencoderKLConfig {
    /// Pixels of the picture per latent, along a side.
    #[must_use]
    pub fn factor(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1)
    }
}

impl Config for AutoencoderKLConfig {
    fn validate(&self, file: &str) -> Result<()> {
        let check = Check { file };
        check.channels("block_out_channels", &self.block_out_channels)?;
        let stages = self.block_out_channels.len();
        check.classes("down_block_types", &self.down_block_types, &[DOWN_BLOCK], stages)?;
        check.classes("up_block_types", &self.up_block_types, &[UP_BLOCK], stages)?;
        check.must_be("in_channels", &self.in_channels, &3)?;
        check.must_be("out_channels", &self.out_channels, &3)?;
        check.must_be("act_fn", &self.act_fn.as_str(), &"silu")?;
        check.between("latent_channels", self.latent_channels, 1, MAX_LATENT_CHANNELS)?;
        check.between("layers_per_block", self.layers_per_block, 1, MAX_LAYERS)?;
        check.positive("scaling_factor", self.scaling_factor)?;
        check.absent("latents_mean", self.latents_mean.as_ref())?;
        check.absent("latents_std", self.latents_std.as_ref())?;
        let groups = |&channels| check.divides("norm_num_groups", self.norm_num_groups, channels);
        self.block_out_channels.iter().try_for_each(groups)?;
        match self.block_out_channels.last() {
            Some(&channels) if self.mid_block_add_attention => check.heads("block_out_channels", 1, channels),
            _ => Ok(()),
        }
    }
}

/// Configuration of an `AutoencoderTiny`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are documented by diffusers")]
pub struct AutoencoderTinyConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    pub encoder_block_out_channels: Vec<usize>,
    pub decoder_block_out_channels: Vec<usize>,
    pub act_fn: String,
    pub upsample_fn: String,
    pub latent_channels: usize,
    pub upsampling_scaling_factor: usize,
    pub num_encoder_blocks: Vec<usize>,
    pub num_decoder_blocks: Vec<usize>,
    pub latent_magnitude: f64,
    pub latent_shift: f64,
    pub scaling_factor: f64,
    pub shift_factor: f64,
}

impl Default for AutoencoderTinyConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            encoder_block_out_channels: vec![64; 4],
            decoder_block_out_channels: vec![64; 4],
            act_fn: "relu".to_owned(),
            upsample_fn: "nearest".to_owned(),
            latent_channels: 4,
            upsampling_scaling_factor: 2,
            num_encoder_blocks: vec![1, 3, 3, 3],
            num_decoder_blocks: vec![3, 3, 3, 1],
            latent_magnitude: 3.0,
            latent_shift: 0.5,
            scaling_factor: 1.0,
            shift_factor: 0.0,
        }
    }
}

impl AutoencoderTinyConfig {
    /// Pixels of the picture per latent, along a side.
    #[must_use]
    pub fn factor(&self) -> usize {
        1 << self.decoder_block_out_channels.len().saturating_sub(1)
    }
}

impl Config for AutoencoderTinyConfig {
    fn validate(&self, file: &str) -> Result<()> {
        let check = Check { file };
        let stages = self.decoder_block_out_channels.len();
        check.channels("decoder_block_out_channels", &self.decoder_block_out_channels)?;
        check.channels("encoder_block_out_channels", &self.encoder_block_out_channels)?;
        check.list("encoder_block_out_channels", self.encoder_block_out_channels.len(), stages)?;
        for (field, blocks) in [
            ("num_encoder_blocks", &self.num_encoder_blocks),
            ("num_decoder_blocks", &self.num_decoder_blocks),
        ] {
            check.list(field, blocks.len(), stages)?;
            blocks.iter().try_for_each(|&blocks| check.between(field, blocks, 1, MAX_LAYERS))?;
        }
        for (field, channels) in [
            ("encoder_block_out_channels", &self.encoder_block_out_channels),
            ("decoder_block_out_channels", &self.decoder_block_out_channels),
        ] {
            if channels.windows(2).any(|pair| pair.first() != pair.last()) {
                return check.fail(field, "differs between stages, which Easel does not run");
            }
        }
        check.must_be("in_channels", &self.in_channels, &3)?;
        check.must_be("out_channels", &self.out_channels, &3)?;
        check.must_be("act_fn", &self.act_fn.as_str(), &"relu")?;
        check.must_be("upsample_fn", &self.upsample_fn.as_str(), &"nearest")?;
        check.must_be("upsampling_scaling_factor", &self.upsampling_scaling_factor, &2)?;
        check.between("latent_channels", self.latent_channels, 1, MAX_LATENT_CHANNELS)?;
        check.positive("latent_magnitude", self.latent_magnitude)?;
        check.positive("scaling_factor", self.scaling_factor)
    }
}

/// Configuration of the VAE, of whichever class it is.
#[derive(Debug, Clone, PartialEq)]
pub enum VaeConfig {
    /// The full autoencoder.
    Kl(AutoencoderKLConfig),
    /// The small one (TAESD).
    Tiny(AutoencoderTinyConfig),
}

#[derive(Deserialize)]
struct Class {
    #[serde(rename = "_class_name")]
    class_name: Option<String>,
}

impl VaeConfig {
    /// Reads and validates the file at `path`. Its `_class_name` decides the class; where it has none, `class`, that
    /// of `model_index.json`.
    ///
    /// # Errors
    /// Those of [`super::load`], and [`Error::UnsupportedClass`](crate::error::Error::UnsupportedClass).
    pub async fn load(source: &dyn Source, path: &str, class: &str) -> Result<Self> {
        let found: Class = read_json(source, path).await?;
        match found.class_name.as_deref().unwrap_or(class) {
            KL => Ok(Self::Kl(super::load(source, path).await?)),
            TINY => Ok(Self::Tiny(super::load(source, path).await?)),
            other => Err(Check { file: path }.unsupported(other, &[KL, TINY])),
        }
    }

    /// Pixels of the picture per latent, along a side.
    #[must_use]
    pub fn factor(&self) -> usize {
        match self {
            Self::Kl(config) => config.factor(),
            Self::Tiny(config) => config.factor(),
        }
    }

    /// Channels of the latents.
    #[must_use]
    pub fn latent_channels(&self) -> usize {
        match self {
            Self::Kl(config) => config.latent_channels,
            Self::Tiny(config) => config.latent_channels,
        }
    }

    /// What encoded latents are multiplied by before the UNet sees them.
    #[must_use]
    pub fn scaling_factor(&self) -> f64 {
        match self {
            Self::Kl(config) => config.scaling_factor,
            Self::Tiny(config) => config.scaling_factor,
        }
    }

    /// What is subtracted from encoded latents before the scaling; 0 in most models.
    #[must_use]
    pub fn shift_factor(&self) -> f64 {
        match self {
            Self::Kl(config) => config.shift_factor.unwrap_or(0.0),
            Self::Tiny(config) => config.shift_factor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::block_on;
    use crate::weights::source::MemorySource;

    fn load(text: &str) -> Result<VaeConfig> {
        let mut source = MemorySource::default();
        source.insert("vae/config.json", text);
        block_on(VaeConfig::load(&source, "vae/config.json", KL))
    }

    const SD: &str = r#"{"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "down_block_types":
        ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"], "up_block_types":
        ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}"#;

    #[test]
    fn both_classes() {
        let kl = load(SD).unwrap();
        assert!(matches!(kl, VaeConfig::Kl(_)));
        assert_eq!((kl.factor(), kl.latent_channels(), kl.scaling_factor()), (8, 4, 0.18215));
        let tiny = load(r#"{"_class_name": "AutoencoderTiny", "latent_magnitude": 3}"#).unwrap();
        assert!(matches!(tiny, VaeConfig::Tiny(_)));
        assert_eq!((tiny.factor(), tiny.shift_factor()), (8, 0.0));
    }

    #[test]
    fn refused() {
        let fields = [
            ("scaling_factor", "0"),
            ("latents_mean", "[0.5]"),
            ("latent_channels", "0"),
            ("norm_num_groups", "5"),
            ("act_fn", "\"mish\""),
            ("in_channels", "4"),
            ("latents_std", "[1]"),
        ];
        for (field, value) in fields {
            let text = SD.replacen('{', &format!("{{\"{field}\": {value}, "), 1);
            let error = load(&text).expect_err(field).to_string();
            assert!(error.starts_with(&format!("vae/config.json: field `{field}`")), "{error}");
        }
        let wide = SD.replace("512, 512]", "512, 1056]");
        let error = load(&wide).expect_err("a wide head").to_string();
        assert!(error.contains("field `block_out_channels`") && error.contains("1056"), "{error}");
        assert!(load(&wide.replacen('{', "{\"mid_block_add_attention\": false, ", 1)).is_ok());
        let tiny = [
            ("num_decoder_blocks", "[1]"),
            ("decoder_block_out_channels", "[64, 64, 64, 32]"),
            ("encoder_block_out_channels", "[]"),
            ("upsample_fn", "\"bilinear\""),
        ];
        for (field, value) in tiny {
            let text = format!("{{\"_class_name\": \"AutoencoderTiny\", \"{field}\": {value}}}");
            let error = load(&text).expect_err(field).to_string();
            assert!(error.starts_with(&format!("vae/config.json: field `{field}`")), "{error}");
        }
        let other = load(&SD.replace("UpDecoderBlock2D", "AttnUpDecoderBlock2D")).unwrap_err();
        assert_eq!(other.code(), "unsupported_class");
        assert_eq!(load(r#"{"_class_name": "VQModel"}"#).unwrap_err().code(), "unsupported_class");
    }
}
