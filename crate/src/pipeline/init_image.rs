//! The picture that a run starts from, and the mask of what to draw anew.

use std::sync::Arc;

use crate::error::{Error, Result};

/// Strength where the user names none: the defaults of diffusers' `StableDiffusionImg2ImgPipeline` and
/// `StableDiffusionInpaintPipeline`.
const STRENGTH: f64 = 0.8;
const STRENGTH_WITH_MASK: f64 = 1.0;

/// A mask is binarised here, as by diffusers' `VaeImageProcessor`: 0.5 of 255.
const DRAWN_FROM: u8 = 128;

/// A picture to start from.
#[derive(Debug, Clone, PartialEq)]
pub struct InitImage {
    /// 8-bit RGBA, row by row from the top, of the request's width and height. What is transparent shows white.
    pub image: Arc<[u8]>,
    /// One byte a pixel: 255 is drawn anew, 0 is kept as it is. The model sees 128 and above as 255; the finished
    /// picture mixes what it drew and what was there by the bytes themselves, so that a mask may have soft edges.
    pub mask_image: Option<Arc<[u8]>>,
    /// How much of the picture is given up, 0..=1: the share of the steps that are made, or of the timesteps for a latent
    /// consistency model.
    pub strength: f64,
}

impl InitImage {
    /// Without a `strength` it is 0.8, or 1 with a mask.
    #[must_use]
    pub fn new(image: Arc<[u8]>, mask_image: Option<Arc<[u8]>>, strength: Option<f64>) -> Self {
        let usual = if mask_image.is_some() { STRENGTH_WITH_MASK } else { STRENGTH };
        Self { image, mask_image, strength: strength.unwrap_or(usual) }
    }

    /// Nothing to start from and all of it to be drawn: what a model for inpainting makes of a prompt alone.
    pub(super) fn blank(width: usize, height: usize) -> Self {
        Self { image: vec![255; width * height * 4].into(), mask_image: None, strength: 1.0 }
    }

    /// # Errors
    /// [`Error::Parameter`] for a picture or a mask that is not of `width` x `height` pixels, and for a strength that is
    /// none.
    pub(super) fn check(&self, width: usize, height: usize) -> Result<()> {
        let sized = |name: &str, bytes: &[u8], depth: usize| {
            if bytes.len() == width * height * depth {
                return Ok(());
            }
            let expected = width * height * depth;
            let reason = format!(
                "must hold {expected} bytes, {depth} for each of {width}x{height} pixels, not {}",
                bytes.len()
            );
            Err(Error::Parameter { name: name.into(), reason })
        };
        sized("image", &self.image, 4)?;
        self.mask_image.as_ref().map_or(Ok(()), |mask| sized("mask_image", mask, 1))?;
        if (0.0..=1.0).contains(&self.strength) {
            return Ok(());
        }
        let reason = format!("must be a number from 0 to 1, not {}", self.strength);
        Err(Error::Parameter { name: "strength".into(), reason })
    }

    /// The picture over white in -1..1, `[pixels, 3]`.
    pub(super) fn pixels(&self) -> Vec<f32> {
        let over_white = |[r, g, b, alpha]: &[u8; 4]| {
            let alpha = f32::from(*alpha) / 255.0;
            [r, g, b].map(|value| (f32::from(*value) / 255.0 * alpha + (1.0 - alpha)) * 2.0 - 1.0)
        };
        self.image.as_chunks().0.iter().flat_map(over_white).collect()
    }

    /// [`Self::pixels`] with 0, a middle grey, for what is to be drawn.
    pub(super) fn masked_pixels(&self) -> Vec<f32> {
        let mut pixels = self.pixels();
        for (i, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            if self.is_drawn(i) {
                *pixel = [0.0; 3];
            }
        }
        pixels
    }

    /// 1 for a latent that is drawn and 0 for one that is kept, `[height, width]`: the mask at the first pixel of each
    /// latent's `factor` x `factor`, which is how `torch.nn.functional.interpolate` takes the nearest.
    pub(super) fn latent_mask(&self, height: usize, width: usize, factor: usize) -> Vec<f32> {
        let at = |y: usize, x: usize| f32::from(u8::from(self.is_drawn((y * width * factor + x) * factor)));
        (0..height).flat_map(|y| (0..width).map(move |x| at(y, x))).collect()
    }

    /// How much of each pixel is what was drawn, 0..=1; `None` without a mask.
    pub(super) fn overlay_mask(&self) -> Option<Vec<f32>> {
        let mask = self.mask_image.as_ref()?;
        Some(mask.iter().map(|value| f32::from(*value) / 255.0).collect())
    }

    fn is_drawn(&self, pixel: usize) -> bool {
        let byte = |mask: &Arc<[u8]>| mask.get(pixel).copied().unwrap_or(0);
        self.mask_image.as_ref().is_none_or(|mask| byte(mask) >= DRAWN_FROM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(pixels: &[[u8; 4]], mask: Option<&[u8]>) -> InitImage {
        InitImage::new(pixels.as_flattened().into(), mask.map(Into::into), None)
    }

    #[test]
    fn transparency_shows_white() {
        let image = image(&[[0, 255, 51, 255], [0, 255, 51, 0], [0, 0, 0, 51]], None);
        let expected = [-1.0, 1.0, -0.6, 1.0, 1.0, 1.0, 0.6, 0.6, 0.6];
        for (found, expected) in image.pixels().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!(image.masked_pixels(), [0.0; 9], "without a mask everything is drawn");
    }

    #[test]
    fn a_mask_is_binary_for_the_model_and_soft_for_the_picture() {
        let mask = [127, 128, 0, 0, 255, 0, 128, 0];
        let image = image(&[[255; 4]; 8], Some(&mask));
        // 4 pixels wide, 2 high.
        assert_eq!(image.latent_mask(1, 2, 2), [0.0, 0.0]);
        assert_eq!(image.latent_mask(2, 4, 1), [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(image.masked_pixels()[..6], [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(image.overlay_mask().unwrap_or_default()[..2], [127.0 / 255.0, 128.0 / 255.0]);
        assert_eq!(image.strength, STRENGTH_WITH_MASK);
    }

    #[test]
    fn other_sizes_are_refused() {
        let of = |bytes: usize, mask: usize, strength: f64| InitImage {
            image: vec![0; bytes].into(),
            mask_image: Some(vec![0; mask].into()),
            strength,
        };
        assert!(of(16, 4, 0.5).check(2, 2).is_ok());
        for (name, image) in [
            ("image", of(12, 4, 0.5)),
            ("mask_image", of(16, 3, 0.5)),
            ("strength", of(16, 4, 1.1)),
            ("strength", of(16, 4, f64::NAN)),
        ] {
            let error = image.check(2, 2).expect_err(name).to_string();
            assert!(error.starts_with(&format!("{name} ")), "{error}");
        }
    }
}
