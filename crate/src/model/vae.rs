//! The two kinds of autoencoder behind one face: latents as a sampler has them on one side, a picture on the other.

use burn::tensor::{Device, Tensor};

use super::autoencoder_kl::{Decoder, Encoder};
use super::autoencoder_tiny::{TinyDecoder, TinyEncoder};
use super::layers::Image;
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
    Kl(Decoder),
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
            VaeConfig::Kl(config) => AnyDecoder::Kl(Decoder::load(&weights, config, device).await?),
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
    #[must_use]
    pub fn forward(&self, latents: Tensor<3>, height: usize, width: usize) -> Tensor<3> {
        let pixels = latents / self.config.scaling_factor() + self.config.shift_factor();
        let x = Image { pixels, height, width };
        match &self.decoder {
            AnyDecoder::Kl(decoder) => decoder.forward(x).pixels,
            AnyDecoder::Tiny(decoder) => decoder.forward(x).pixels,
        }
    }
}

/// Pictures to latents.
pub struct VaeEncoder {
    config: VaeConfig,
    encoder: AnyEncoder,
}

enum AnyEncoder {
    Kl(Encoder),
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
            VaeConfig::Kl(config) => AnyEncoder::Kl(Encoder::load(&weights, config, device).await?),
            VaeConfig::Tiny(config) => AnyEncoder::Tiny(TinyEncoder::load(&weights, config, device).await?),
        };
        Ok(Self { config, encoder })
    }

    /// A picture in -1..1, `[1, height*width, 3]`, to the mean of its latents, scaled as a sampler has them:
    /// `[1, pixels, latent_channels]`.
    #[must_use]
    pub fn forward(&self, picture: Tensor<3>, height: usize, width: usize) -> Tensor<3> {
        let x = Image { pixels: picture, height, width };
        let latents = match &self.encoder {
            AnyEncoder::Kl(encoder) => encoder.forward(x).pixels,
            AnyEncoder::Tiny(encoder) => encoder.forward(x).pixels,
        };
        (latents - self.config.shift_factor()) * self.config.scaling_factor()
    }
}
