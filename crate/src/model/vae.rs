//! The two kinds of autoencoder behind one face: latents as a sampler has them on one side, a picture on the other.

use burn::tensor::{Device, Tensor};

use super::autoencoder_kl::{Decoder, Encoder};
use super::autoencoder_tiny::{TinyDecoder, TinyEncoder};
use super::layers::Image;
use super::slabs::SLAB_BYTES;
use crate::config::VaeConfig;
use crate::error::Result;
use crate::weights::source::Source;
use crate::weights::{Prefer, Weights};

const FOLDER: &str = "vae";

/// Latents to pictures.
pub struct VaeDecoder {
    config: VaeConfig,
    decoder: AnyDecoder,
}

enum AnyDecoder {
    Kl(Box<Decoder>),
    Tiny(TinyDecoder),
}

impl VaeDecoder {
    /// Reads the decoder of the folder `vae`.
    ///
    /// # Errors
    /// Those of [`Weights`].
    pub async fn load(
        source: &dyn Source,
        prefer: Prefer,
        config: VaeConfig,
        device: &Device,
    ) -> Result<Self> {
        let weights = Weights::open(source, FOLDER, prefer).await?;
        let decoder = match &config {
            VaeConfig::Kl(config) => AnyDecoder::Kl(Box::new(Decoder::load(&weights, config, device).await?)),
            VaeConfig::Tiny(config) => AnyDecoder::Tiny(TinyDecoder::load(&weights, config, device).await?),
        };
        Ok(Self { config, decoder })
    }

    /// The config it was loaded with.
    #[must_use]
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// Latents `[1, height*width, latent_channels]` to a picture in -1..1, `[1, pixels, 3]`, of `factor` times the
    /// height and width.
    ///
    /// Large activations are computed in slabs of rows, which make no difference but for rounding and leave little of
    /// them in memory at a time.
    ///
    /// Activations are f32 whatever the weights are stored as. SDXL's decoder, which overflows in f16 and therefore asks
    /// for `force_upcast` in its config, needs nothing else.
    #[must_use]
    pub fn forward(&self, latents: Tensor<3>, height: usize, width: usize) -> Tensor<3> {
        self.forward_by(SLAB_BYTES, latents, height, width)
    }

    /// [`Self::forward`] in slabs of at most so many bytes, or of a row, for tests and measurements.
    #[must_use]
    pub fn forward_by(
        &self,
        slab_bytes: usize,
        latents: Tensor<3>,
        height: usize,
        width: usize,
    ) -> Tensor<3> {
        let pixels = latents / self.config.scaling_factor() + self.config.shift_factor();
        let latents = Image { pixels, height, width };
        let picture = match &self.decoder {
            AnyDecoder::Kl(decoder) => decoder.forward(latents, slab_bytes),
            AnyDecoder::Tiny(decoder) => decoder.forward(latents, slab_bytes),
        };
        picture.pixels
    }
}

/// Pictures to latents.
pub struct VaeEncoder {
    config: VaeConfig,
    encoder: AnyEncoder,
}

enum AnyEncoder {
    Kl(Box<Encoder>),
    Tiny(TinyEncoder),
}

impl VaeEncoder {
    /// Reads the encoder of the folder `vae`.
    ///
    /// # Errors
    /// Those of [`Weights`].
    pub async fn load(
        source: &dyn Source,
        prefer: Prefer,
        config: VaeConfig,
        device: &Device,
    ) -> Result<Self> {
        let weights = Weights::open(source, FOLDER, prefer).await?;
        let encoder = match &config {
            VaeConfig::Kl(config) => AnyEncoder::Kl(Box::new(Encoder::load(&weights, config, device).await?)),
            VaeConfig::Tiny(config) => AnyEncoder::Tiny(TinyEncoder::load(&weights, config, device).await?),
        };
        Ok(Self { config, encoder })
    }

    /// The config it was loaded with.
    #[must_use]
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// A picture in -1..1, `[1, height*width, 3]`, to the moments of its latents, `[1, pixels, c]`, to be read by
    /// [`LatentDistribution::new`]. Height and width are multiples of [`VaeConfig::factor`].
    ///
    /// Large activations are computed as [`VaeDecoder::forward`] computes them.
    #[must_use]
    pub fn forward(&self, picture: Tensor<3>, height: usize, width: usize) -> Tensor<3> {
        self.forward_by(SLAB_BYTES, picture, height, width)
    }

    /// [`Self::forward`] in slabs of at most so many bytes, or of a row, for tests and measurements.
    #[must_use]
    pub fn forward_by(
        &self,
        slab_bytes: usize,
        picture: Tensor<3>,
        height: usize,
        width: usize,
    ) -> Tensor<3> {
        let x = Image { pixels: picture, height, width };
        let moments = match &self.encoder {
            AnyEncoder::Kl(encoder) => encoder.forward(x, slab_bytes),
            AnyEncoder::Tiny(encoder) => encoder.forward(x, slab_bytes),
        };
        moments.pixels
    }
}

/// The latents that a picture may stand for, each a normal distribution (diffusers' `DiagonalGaussianDistribution`), in
/// the scale that a sampler has them in. All planes, `[c, height, width]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentDistribution {
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations; `None` for an autoencoder that gives one latent and no distribution.
    pub std: Option<Vec<f32>>,
}

/// diffusers clamps the logarithms of variances so.
const LOGVAR: std::ops::RangeInclusive<f32> = -30.0..=20.0;

impl LatentDistribution {
    /// From the moments of [`VaeEncoder::forward`] as planes, `[c, height, width]`.
    #[must_use]
    pub fn new(moments: &[f32], config: &VaeConfig) -> Self {
        let (shift, scale) = (config.shift_factor() as f32, config.scaling_factor() as f32);
        let scaled = |means: &[f32]| means.iter().map(|mean| (mean - shift) * scale).collect();
        match config {
            VaeConfig::Tiny(_) => Self { mean: scaled(moments), std: None },
            VaeConfig::Kl(_) => {
                let (means, logvars) = moments.split_at(moments.len() / 2);
                let std = |logvar: &f32| (0.5 * logvar.clamp(*LOGVAR.start(), *LOGVAR.end())).exp() * scale;
                Self { mean: scaled(means), std: Some(logvars.iter().map(std).collect()) }
            }
        }
    }

    /// Latents of the distribution, by standard normal numbers of as many; `noise` is not called where there is no
    /// distribution.
    #[must_use]
    pub fn sample(&self, noise: impl FnOnce(usize) -> Vec<f32>) -> Vec<f32> {
        let Some(std) = &self.std else { return self.mean.clone() };
        let noise = noise(self.mean.len());
        let values = self.mean.iter().zip(std).zip(noise);
        values.map(|((mean, std), noise)| mean + std * noise).collect()
    }
}
