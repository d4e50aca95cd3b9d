//! The two kinds of autoencoder behind one face: latents as a sampler has them on one side, a picture on the other.

use burn::tensor::{Device, Tensor};

use super::autoencoder_kl::{Decoder, Encoder};
use super::autoencoder_tiny::{TinyDecoder, TinyEncoder};
use super::layers::Image;
use super::tiles;
use crate::config::VaeConfig;
use crate::error::Result;
use crate::kernel::most_bytes;
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
    /// Where an activation would have more than [`most_bytes`], the latents are decoded in overlapping tiles that are
    /// blended: nearly the same picture, since each tile is normalised by itself.
    ///
    /// Activations are f32 whatever the weights are stored as. SDXL's decoder, which overflows in f16 and therefore asks
    /// for `force_upcast` in its config, needs nothing else.
    #[must_use]
    pub fn forward(&self, latents: Tensor<3>, height: usize, width: usize) -> Tensor<3> {
        let most = most_bytes(&latents);
        let pixels = latents / self.config.scaling_factor() + self.config.shift_factor();
        let latents = Image { pixels, height, width };
        match tile_side(&self.config, height, width, most) {
            None => self.decode(latents).pixels,
            Some(side) => tiles::decode(latents, side, self.config.factor(), |tile| self.decode(tile)),
        }
    }

    fn decode(&self, latents: Image) -> Image {
        match &self.decoder {
            AnyDecoder::Kl(decoder) => decoder.forward(latents),
            AnyDecoder::Tiny(decoder) => decoder.forward(latents),
        }
    }
}

/// Bytes of the largest activation per latent of the decoder's input.
fn activation_bytes(config: &VaeConfig) -> u64 {
    let channels: Vec<usize> = match config {
        VaeConfig::Kl(config) => config.block_out_channels.iter().rev().copied().collect(),
        VaeConfig::Tiny(config) => config.decoder_block_out_channels.clone(),
    };
    let last = channels.len().saturating_sub(1);
    // Every stage but the last hands its channels on at twice its resolution.
    let values = channels.iter().enumerate().map(|(i, channels)| channels << (2 * (i + 1).min(last)));
    values.max().unwrap_or(0) as u64 * size_of::<f32>() as u64
}

/// Side of the tiles to decode in; `None` when the whole fits.
fn tile_side(config: &VaeConfig, height: usize, width: usize, most_bytes: u64) -> Option<usize> {
    let latents = most_bytes / activation_bytes(config).max(1);
    if (height * width) as u64 <= latents {
        return None;
    }
    Some((latents.isqrt() as usize).max(tiles::MIN_SIDE))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AutoencoderKLConfig;

    #[test]
    fn stable_diffusion_at_512_needs_tiles_at_the_default_limit_only() {
        let config = VaeConfig::Kl(AutoencoderKLConfig {
            block_out_channels: vec![128, 256, 512, 512],
            ..AutoencoderKLConfig::default()
        });
        // 256 channels at 512x512: 256 MiB.
        assert_eq!(activation_bytes(&config) * 64 * 64, 256 << 20);
        assert_eq!(tile_side(&config, 64, 64, 256 << 20), None);
        assert_eq!(tile_side(&config, 64, 64, 128 << 20), Some(45));
        assert_eq!(tile_side(&config, 45, 45, 128 << 20), None);
    }
}
