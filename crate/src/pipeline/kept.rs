//! What stays of a picture around what is drawn.

use burn::tensor::{Tensor, TensorData};

use super::InitImage;
use super::run::combine;
use crate::error::Result;
use crate::kernel::blend;
use crate::sampler::ModelCall;

/// A picture's latents, the noise that they get at every level, both `[1, pixels, c]`, and the mask `[1, pixels, 1]`, 1
/// where latents are drawn.
pub(super) struct Kept {
    pub(super) image: Tensor<3>,
    pub(super) noise: Tensor<3>,
    pub(super) mask: Tensor<3>,
}

impl Kept {
    /// `sample` with the picture put back around what is drawn, as noisy as the `next` call expects it; without noise
    /// where there is none.
    pub(super) fn around(&self, sample: Tensor<3>, next: Option<&ModelCall>) -> Result<Tensor<3>> {
        let image = match next {
            Some(next) => {
                let (clean, noise) = next.noised();
                combine(&[(self.image.clone(), clean), (self.noise.clone(), noise)], None)?
            }
            None => self.image.clone(),
        };
        Ok(blend(sample, image, &self.mask))
    }
}

/// `picture` `[1, pixels, 3]` in 0..1 over what the mask keeps of `init_image` (diffusers' `apply_overlay`).
pub(super) fn overlay(picture: Tensor<3>, init_image: &InitImage) -> Tensor<3> {
    let Some(mask) = init_image.overlay_mask() else { return picture };
    let kept = init_image.pixels().iter().map(|value| value * 0.5 + 0.5).collect();
    let ([_, pixels, colours], device) = (picture.dims(), picture.device());
    let kept = Tensor::from_data(TensorData::new(kept, [1, pixels, colours]), &device);
    blend(picture, kept, &Tensor::from_data(TensorData::new(mask, [1, pixels, 1]), &device))
}
