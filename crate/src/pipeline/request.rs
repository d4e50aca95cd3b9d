//! What a user asks for, and the checks that need no model run.

use super::{InitImage, Sizes};
use crate::error::{Error, Result};
use crate::sampler::SamplerKind;

/// Pictures larger than this a side are refused before anything is allocated.
const MAX_SIDE: usize = 2048;

/// One picture to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to draw, with A1111's weights.
    pub prompt: String,
    /// What to keep away from; used with guidance above 1 only.
    pub negative_prompt: String,
    /// Sampler steps.
    pub steps: usize,
    /// Classifier-free guidance; 1 or less turns it off.
    pub guidance_scale: f64,
    /// `None` takes the model's own.
    pub sampler: Option<SamplerKind>,
    /// Seed of torch's CPU generator.
    pub seed: u64,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// A picture to start from; `None` starts from noise alone.
    pub init_image: Option<InitImage>,
    /// Random numbers to use instead of the seed's.
    pub given: Given,
}

/// Standard normal numbers that were drawn elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The first latents, before the sampler scales them; the noise that is added to a picture to start from.
    pub latents: Option<Numbers>,
    /// Fresh noise of calls, by the call's number.
    pub noise: std::collections::BTreeMap<usize, Numbers>,
}

/// An array in row-major order; of latents, `[1, c, h, w]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

impl Request {
    /// Height and width of the latents.
    ///
    /// # Errors
    /// [`Error::Parameter`] that names the parameter, [`Error::TensorShape`] for given numbers of another size.
    pub(super) fn check(&self, sizes: Sizes, latent_channels: usize) -> Result<(usize, usize)> {
        if !self.guidance_scale.is_finite() || self.guidance_scale.abs() > 1000.0 {
            return Err(parameter(
                "guidance_scale",
                format!("must be a number up to 1000, not {}", self.guidance_scale),
            ));
        }
        let (height, width) = sizes.check(self.width, self.height)?;
        if let Some(init_image) = &self.init_image {
            init_image.check(self.width, self.height)?;
        }
        let expected = [1, latent_channels, height, width];
        let noise = self.given.noise.iter().map(|(call, numbers)| (format!("noise.{call}"), numbers));
        for (tensor, numbers) in
            self.given.latents.iter().map(|numbers| ("latents".into(), numbers)).chain(noise)
        {
            if numbers.shape != expected || numbers.values.len() != expected.iter().product::<usize>() {
                let (expected, found) = (expected.to_vec(), numbers.shape.clone());
                return Err(Error::TensorShape { file: "the given latents".into(), tensor, expected, found });
            }
        }
        Ok((height, width))
    }
}

impl Sizes {
    /// The size nearest to `(width, height)` that a request may have, of the same shape.
    #[must_use]
    pub fn nearest(self, (width, height): (usize, usize)) -> (usize, usize) {
        let scale = (MAX_SIDE as f64 / width.max(height).max(1) as f64).min(1.0);
        let most = (MAX_SIDE / self.factor).max(1);
        let side = |pixels: usize| {
            let latents = (pixels as f64 * scale / self.factor as f64).round() as usize;
            latents.clamp(1, most) * self.factor
        };
        (side(width), side(height))
    }

    /// Height and width of a request's latents.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a side that the model does not draw.
    pub fn check(self, width: usize, height: usize) -> Result<(usize, usize)> {
        Ok((latent_side("height", height, self.factor)?, latent_side("width", width, self.factor)?))
    }
}

fn latent_side(name: &str, pixels: usize, factor: usize) -> Result<usize> {
    if pixels == 0 || pixels > MAX_SIDE || !pixels.is_multiple_of(factor) {
        let reason = format!("must be a multiple of {factor} from {factor} to {MAX_SIDE}, not {pixels}");
        return Err(parameter(name, reason));
    }
    Ok(pixels / factor)
}

fn parameter(name: &str, reason: String) -> Error {
    Error::Parameter { name: name.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_size_is_one_that_is_drawn() {
        let sizes = Sizes { factor: 8, width: 512, height: 512 };
        for (wanted, expected) in [
            ((512, 512), (512, 512)),
            ((515, 767), (512, 768)),
            ((4000, 3000), (2048, 1536)),
            ((1, 9000), (8, 2048)),
            ((0, 0), (8, 8)),
        ] {
            assert_eq!(sizes.nearest(wanted), expected);
            assert!(sizes.check(expected.0, expected.1).is_ok());
        }
        assert!(sizes.check(512, 511).is_err() && sizes.check(2056, 512).is_err());
    }
}
