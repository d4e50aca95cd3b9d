//! The two kinds of autoencoder behind one face: latents as a sampler has them on one side, a picture on the other.

use burn::tensor::{Device, Tensor};

use super::autoencoder_kl::{Decoder, Encoder};
use super::autoencoder_tiny::{TinyDecoder, TinyEncoder};
use super::layers::Image;
use super::tiles::{self, Tiling};
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
        match tile_side(decoder_bytes(&self.config), height, width, most) {
            None => self.decode(latents).pixels,
            Some(side) => {
                let tiling = Tiling { side, from: 1, to: self.config.factor() };
                tiles::in_tiles(latents, tiling, |tile| self.decode(tile))
            }
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
fn decoder_bytes(config: &VaeConfig) -> u64 {
    let channels: Vec<usize> = match config {
        VaeConfig::Kl(config) => config.block_out_channels.iter().rev().copied().collect(),
        VaeConfig::Tiny(config) => config.decoder_block_out_channels.clone(),
    };
    let last = channels.len().saturating_sub(1);
    // Every stage but the last hands its channels on at twice its resolution.
    let values = channels.iter().enumerate().map(|(i, channels)| channels << (2 * (i + 1).min(last)));
    values.max().unwrap_or(0) as u64 * size_of::<f32>() as u64
}

/// Side in latents of the tiles to compute in, where a latent takes so many bytes; `None` when the whole fits.
fn tile_side(bytes: u64, height: usize, width: usize, most_bytes: u64) -> Option<usize> {
    let latents = |most_bytes: u64| most_bytes / bytes.max(1);
    if (height * width) as u64 <= latents(most_bytes) {
        return None;
    }
    // What is small lies in the same pages as the activations, and must not cost a page more.
    let most_bytes = most_bytes / 16 * 15;
    Some((latents(most_bytes).isqrt() as usize).max(tiles::MIN_SIDE))
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
    /// Where an activation would have more than [`most_bytes`], the picture is encoded in overlapping tiles, as
    /// [`VaeDecoder::forward`] decodes.
    #[must_use]
    pub fn forward(&self, picture: Tensor<3>, height: usize, width: usize) -> Tensor<3> {
        let most = most_bytes(&picture);
        let x = Image { pixels: picture, height, width };
        let factor = self.config.factor();
        let latent = encoder_bytes(&self.config).saturating_mul((factor * factor) as u64);
        match tile_side(latent, height / factor, width / factor, most) {
            None => self.encode(x).pixels,
            Some(side) => tiles::in_tiles(x, Tiling { side, from: factor, to: 1 }, |tile| self.encode(tile)),
        }
    }

    fn encode(&self, x: Image) -> Image {
        match &self.encoder {
            AnyEncoder::Kl(encoder) => encoder.forward(x),
            AnyEncoder::Tiny(encoder) => encoder.forward(x),
        }
    }
}

/// Bytes of the largest activation per pixel of the encoder's input.
fn encoder_bytes(config: &VaeConfig) -> u64 {
    let channels = match config {
        VaeConfig::Kl(config) => &config.block_out_channels,
        VaeConfig::Tiny(config) => &config.encoder_block_out_channels,
    };
    // A stage takes what the one before hands on at half the resolution, and may have twice the channels.
    let values = channels.iter().enumerate().map(|(i, channels)| channels.div_ceil(1 << (2 * i)));
    values.max().unwrap_or(0) as u64 * size_of::<f32>() as u64
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
        let bytes = decoder_bytes(&config);
        assert_eq!(bytes * 64 * 64, 256 << 20);
        assert_eq!(tile_side(bytes, 64, 64, 256 << 20), None);
        assert_eq!(tile_side(bytes, 64, 64, 128 << 20), Some(43));
        assert_eq!(tile_side(bytes, 45, 45, 128 << 20), None);
        // Half of that on the way in: 128 channels at 512x512.
        assert_eq!(encoder_bytes(&config) * 512 * 512, 128 << 20);
    }
}
