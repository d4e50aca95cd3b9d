//! The latents that a run over a picture starts from, as diffusers' `StableDiffusionImg2ImgPipeline` and
//! `StableDiffusionInpaintPipeline` prepare them; those of the SDXL family do the same.

use burn::tensor::{Tensor, TensorData};

use super::run::planes;
use super::{InitImage, Pipeline};
use crate::error::Result;
use crate::model::vae::{LatentDistribution, VaeEncoder};
use crate::random::TorchGenerator;
use crate::sampler::Sampler;

/// An encoded picture with its mask.
pub(super) struct InitLatents {
    /// `None` where nothing reads it: a model for inpainting at strength 1.
    image: Option<LatentDistribution>,
    /// The picture without what is drawn, for a model for inpainting.
    masked_image: Option<LatentDistribution>,
    /// 1 for latents that are drawn, `[height, width]`; `None` where all are.
    mask: Option<Vec<f32>>,
    is_strength_max: bool,
}

/// What one seed makes of it; planes of `[c, height, width]`.
pub(super) struct DrawnLatents {
    /// What the first call goes on from.
    pub(super) sample: Vec<f32>,
    /// What the model for inpainting gets beside the sample: the mask, then the latents of the masked picture.
    pub(super) condition: Option<Vec<f32>>,
    /// For a model without such inputs: what is put back around the drawn part after every call.
    pub(super) kept: Option<KeptLatents>,
}

/// The picture's latents, the noise that they get at every level, and the mask, `[height, width]`.
pub(super) struct KeptLatents {
    pub(super) image: Vec<f32>,
    pub(super) noise: Vec<f32>,
    pub(super) mask: Vec<f32>,
}

impl InitLatents {
    /// Encodes what a run needs of `init_image`, whose latents have the size `height` x `width`.
    pub(super) async fn encode(
        pipeline: &Pipeline,
        init_image: &InitImage,
        height: usize,
        width: usize,
    ) -> Result<Self> {
        let encoder = pipeline.vae_encoder().await?;
        let inpaints = pipeline.description().inpaints();
        let is_strength_max = init_image.strength == 1.0;
        let of = async |pixels: Vec<f32>| pipeline.encode_picture(&encoder, pixels, height, width).await;
        let image = if inpaints && is_strength_max { None } else { Some(of(init_image.pixels()).await?) };
        let masked_image = if inpaints { Some(of(init_image.masked_pixels()).await?) } else { None };
        let has_mask = inpaints || init_image.mask_image.is_some();
        let factor = encoder.config().factor();
        let mask = has_mask.then(|| init_image.latent_mask(height, width, factor));
        // The encoder's activations are of no use to the UNet.
        pipeline.hardware().free_unused();
        Ok(Self { image, masked_image, mask, is_strength_max })
    }

    /// Draws in the order of diffusers: the picture's latents, `noise`, the masked picture's latents.
    pub(super) fn draw(
        &self,
        sampler: &Sampler,
        generator: &mut TorchGenerator,
        noise: impl FnOnce(&mut TorchGenerator) -> Vec<f32>,
    ) -> DrawnLatents {
        let of = |latents: &LatentDistribution, generator: &mut TorchGenerator| {
            latents.sample(|count| generator.randn(count))
        };
        let image = self.image.as_ref().map(|image| of(image, generator));
        let noise = noise(generator);
        let masked_image = self.masked_image.as_ref().map(|masked| of(masked, generator));
        let scale = sampler.init_noise_sigma as f32;
        let sample = match (&image, sampler.calls.first()) {
            // A mask at full strength starts from noise alone; a picture without one shines through even then.
            (Some(image), Some(first)) if !(self.is_strength_max && self.mask.is_some()) => {
                let (clean, noisy) = first.noised();
                let sum = |(image, noise): (&f32, &f32)| clean as f32 * image + noisy as f32 * noise;
                image.iter().zip(&noise).map(sum).collect()
            }
            _ => noise.iter().map(|value| value * scale).collect(),
        };
        let condition = masked_image.map(|masked| [self.mask.clone().unwrap_or_default(), masked].concat());
        let kept = match (image, &self.mask, &condition) {
            (Some(image), Some(mask), None) => {
                // diffusers encodes the masked picture for these models, too, and then has no use for it.
                if let Some(image) = &self.image {
                    of(image, generator);
                }
                Some(KeptLatents { image, noise, mask: mask.clone() })
            }
            _ => None,
        };
        DrawnLatents { sample, condition, kept }
    }
}

impl Pipeline {
    /// The latents of a picture in -1..1, `[pixels, 3]`; in f32 always, as for the decoder.
    async fn encode_picture(
        &self,
        encoder: &VaeEncoder,
        pixels: Vec<f32>,
        height: usize,
        width: usize,
    ) -> Result<LatentDistribution> {
        let factor = encoder.config().factor();
        let (height, width) = (height * factor, width * factor);
        let picture = TensorData::new(pixels, [1, height * width, 3]);
        let picture = Tensor::from_data(picture, self.hardware.device());
        let moments = encoder.forward(picture, height, width);
        let [_, _, channels] = moments.dims();
        let moments = planes(&self.hardware.read(moments).await?, channels);
        Ok(LatentDistribution::new(&moments, encoder.config()))
    }
}
