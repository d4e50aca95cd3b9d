//! The picture that the user starts from, and its mask.

use std::path::PathBuf;

use clap::Args;
use easel::error::{Error, Result};
use easel::pipeline::InitImage;

use super::picture_files::{Picture, read};
use super::resample::{LANCZOS3, TRIANGLE, fill};

/// The options about a picture to start from.
#[derive(Args)]
pub(super) struct InitOptions {
    /// PNG, JPEG or WebP file to start from. It is cut to the shape of --size from its middle, and resized.
    #[arg(long)]
    init: Option<PathBuf>,
    /// How much of --init is given up, 0 to 1: that share of the steps is made; 0.8 by default, 1 with --mask.
    #[arg(long, requires = "init", allow_negative_numbers = true)]
    strength: Option<f64>,
    /// Picture of the size of --init: what is white is drawn anew, what is black or transparent stays.
    #[arg(long, requires = "init")]
    mask: Option<PathBuf>,
}

/// A picture to start from, in its own size.
pub(super) struct Init {
    image: Picture,
    mask: Option<Picture>,
    strength: Option<f64>,
}

impl InitOptions {
    /// Reads the files.
    pub(super) fn read(&self) -> Result<Option<Init>> {
        let Some(path) = &self.init else { return Ok(None) };
        let image = read(path)?;
        let mask = self.mask.as_deref().map(read).transpose()?;
        if let Some(mask) = &mask
            && (mask.width, mask.height) != (image.width, image.height)
        {
            let reason = format!(
                "must be of {}x{} pixels as the picture is, not {}x{}",
                image.width, image.height, mask.width, mask.height
            );
            return Err(Error::Parameter { name: "mask".into(), reason });
        }
        Ok(Some(Init { image, mask, strength: self.strength }))
    }
}

impl Init {
    /// Width and height of the picture.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.image.width, self.image.height)
    }

    /// The picture at a size: as much of its middle as has the shape.
    pub(super) fn at(&self, width: usize, height: usize) -> InitImage {
        // Filtered over white, since the colours of what is transparent must not show.
        let rgb: Vec<u8> = pixels(&self.image).iter().flat_map(over_white).collect();
        let rgb = fill(&rgb, 3, self.size(), (width, height), LANCZOS3);
        let rgba: Vec<u8> = rgb.as_chunks().0.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]).collect();
        let mask = self.mask.as_ref().map(|mask| {
            let drawn: Vec<u8> = pixels(mask).iter().map(drawn).collect();
            fill(&drawn, 1, self.size(), (width, height), TRIANGLE).into()
        });
        InitImage::new(rgba.into(), mask, self.strength)
    }
}

fn pixels(picture: &Picture) -> &[[u8; 4]] {
    picture.rgba.as_chunks().0
}

fn over_white([r, g, b, alpha]: &[u8; 4]) -> [u8; 3] {
    let alpha = u32::from(*alpha);
    [r, g, b].map(|value| ((u32::from(*value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
}

/// The grey of ITU-R BT.601 over black.
fn drawn([r, g, b, alpha]: &[u8; 4]) -> u8 {
    let [r, g, b, alpha] = [r, g, b, alpha].map(|value| u32::from(*value));
    ((299 * r + 587 * g + 114 * b + 500) / 1000 * alpha / 255) as u8
}
