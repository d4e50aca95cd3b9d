//! The linear map from latents to colours that a preview is drawn with.

use burn::tensor::{Tensor, TensorData};

use super::map_to_device;
use crate::config::VaeConfig;
use crate::error::Result;
use crate::hardware::Hardware;
use crate::model::vae::VaeDecoder;
use crate::random::TorchGenerator;

/// A decoder's output in -1..1 to a picture in 0..1.
pub(super) const PICTURE: [[f32; 3]; 4] =
    [[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [0.5, 0.5, 0.5]];

/// SD 1 and 2 latents to colours: the linear fit of "Decoding latents to RGB without upscaling" in the forum of
/// diffusers, halved since it gives -1..1.
const STABLE_DIFFUSION: [[f32; 3]; 5] = [
    [0.149, 0.1035, 0.104],
    [0.0935, 0.143, 0.0865],
    [-0.079, 0.0945, 0.132],
    [-0.092, -0.1355, -0.2365],
    [0.5, 0.5, 0.5],
];

/// SDXL latents to colours: the weights of "Display image after each generation step" in the documentation of
/// diffusers (`docs/source/en/using-diffusers/callback.md`), which are for 0..255.
const STABLE_DIFFUSION_XL: [[f32; 3]; 5] = [
    [60.0 / 255.0, 60.0 / 255.0, 60.0 / 255.0],
    [-60.0 / 255.0, -5.0 / 255.0, 10.0 / 255.0],
    [25.0 / 255.0, 15.0 / 255.0, -5.0 / 255.0],
    [-70.0 / 255.0, -50.0 / 255.0, -35.0 / 255.0],
    [150.0 / 255.0, 140.0 / 255.0, 130.0 / 255.0],
];

/// Scaling factors of the VAE that SD 1 and 2 share, and of SDXL's.
const STABLE_DIFFUSION_SCALING: f64 = 0.18215;
const STABLE_DIFFUSION_XL_SCALING: f64 = 0.13025;

/// The map for a model's VAE: the known one of its family, or one fitted to what the decoder makes of flat patches.
pub(super) async fn map(vae: &VaeDecoder, xl: bool, hardware: &Hardware) -> Result<Tensor<2>> {
    let config = vae.config();
    let (map, scaling) = if xl {
        (&STABLE_DIFFUSION_XL, STABLE_DIFFUSION_XL_SCALING)
    } else {
        (&STABLE_DIFFUSION, STABLE_DIFFUSION_SCALING)
    };
    let known = match config {
        VaeConfig::Kl(kl) => (kl.scaling_factor - scaling).abs() < 1e-6,
        VaeConfig::Tiny(tiny) => (tiny.scaling_factor - 1.0).abs() < 1e-6,
    };
    if known && config.latent_channels() == 4 {
        return Ok(map_to_device(map, hardware));
    }
    let fitted = fit(vae, hardware).await?;
    Ok(map_to_device(&fitted, hardware))
}

/// Side of a flat patch in latents: its middle is out of reach of its neighbours' colours.
const PATCH: usize = 4;
/// Patches a side.
const PATCHES: usize = 5;

async fn fit(vae: &VaeDecoder, hardware: &Hardware) -> Result<Vec<[f32; 3]>> {
    let channels = vae.config().latent_channels();
    let side = PATCH * PATCHES;
    let colours = TorchGenerator::manual_seed(0).randn(PATCHES * PATCHES * channels);
    let patch_of = |pixel: usize| pixel / side / PATCH * PATCHES + pixel % side / PATCH;
    let latents: Vec<f32> = (0..side * side)
        .flat_map(|pixel| colours[patch_of(pixel) * channels..][..channels].to_vec())
        .collect();
    let latents = Tensor::from_data(TensorData::new(latents, [1, side * side, channels]), hardware.device());
    let picture = hardware.read(vae.forward(latents, side, side)).await?;
    let means = patch_means(&picture, side * vae.config().factor());
    let samples: Vec<(&[f32], [f32; 3])> = colours.chunks_exact(channels).zip(means).collect();
    Ok(least_squares(&samples, channels))
}

/// Mean colour of the inner half of every patch, moved to 0..1.
fn patch_means(picture: &[f32], side: usize) -> Vec<[f32; 3]> {
    let patch = side / PATCHES;
    let inner = patch / 4..patch - patch / 4;
    let mut means = Vec::with_capacity(PATCHES * PATCHES);
    for row in 0..PATCHES {
        for column in 0..PATCHES {
            let mut sum = [0.0; 3];
            for y in inner.clone() {
                for x in inner.clone() {
                    let at = ((row * patch + y) * side + column * patch + x) * 3;
                    (0..3).for_each(|c| sum[c] += picture[at + c].clamp(-1.0, 1.0));
                }
            }
            let count = inner.len() * inner.len();
            means.push(sum.map(|sum| sum / count as f32 * 0.5 + 0.5));
        }
    }
    means
}

/// The `[channels + 1, 3]` map with the least squared error over the samples, slightly regularised.
fn least_squares(samples: &[(&[f32], [f32; 3])], channels: usize) -> Vec<[f32; 3]> {
    let n = channels + 1;
    // Normal equations: n unknowns and three right sides a row.
    let mut rows = vec![vec![0.0_f64; n + 3]; n];
    for (latent, colour) in samples {
        let with_one: Vec<f64> = latent.iter().map(|v| f64::from(*v)).chain([1.0]).collect();
        for (i, row) in rows.iter_mut().enumerate() {
            for (j, other) in with_one.iter().enumerate() {
                row[j] += with_one[i] * other;
            }
            for (c, value) in colour.iter().enumerate() {
                row[n + c] += with_one[i] * f64::from(*value);
            }
        }
    }
    for (i, row) in rows.iter_mut().enumerate() {
        row[i] += 1e-6 * samples.len() as f64;
    }
    // Gauss-Jordan; the regularised matrix is positive definite and needs no pivoting.
    for i in 0..n {
        let pivot: Vec<f64> = rows[i].iter().map(|value| value / rows[i][i]).collect();
        for (j, row) in rows.iter_mut().enumerate() {
            if j != i {
                let factor = row[i];
                row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
        rows[i] = pivot;
    }
    rows.iter().map(|row| [row[n] as f32, row[n + 1] as f32, row[n + 2] as f32]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_relation_is_found() {
        let truth = [[0.2, -0.1, 0.0], [0.05, 0.3, -0.2], [0.5, 0.4, 0.6]];
        let latents: Vec<Vec<f32>> =
            (0..9).map(|i| vec![(i % 3) as f32 - 1.0, (i / 3) as f32 * 0.5]).collect();
        let samples: Vec<(&[f32], [f32; 3])> = latents
            .iter()
            .map(|l| (l.as_slice(), [0, 1, 2].map(|c| l[0] * truth[0][c] + l[1] * truth[1][c] + truth[2][c])))
            .collect();
        let found = least_squares(&samples, 2);
        for (found, truth) in found.as_flattened().iter().zip(truth.as_flattened()) {
            assert!((found - truth).abs() < 1e-4, "{found} {truth}");
        }
    }
}
