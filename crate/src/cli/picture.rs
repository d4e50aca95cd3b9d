//! Pictures that the user starts from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use easel::error::{Error, Result};
use easel::pipeline::InitImage;
use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, ImageDecoder as _, ImageReader, Limits, RgbaImage};

/// Sides of larger pictures are refused before anything is allocated.
const MAX_SIDE: u32 = 1 << 14;
/// Most bytes of a decoded picture: 8192x8192 in 16-bit RGBA.
const MAX_BYTES: u64 = 512 << 20;

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

/// A picture to start from, as it is in its files.
pub(super) struct Init {
    image: RgbaImage,
    mask: Option<GrayImage>,
    strength: Option<f64>,
}

impl InitOptions {
    /// Reads the files.
    pub(super) fn read(&self) -> Result<Option<Init>> {
        let Some(path) = &self.init else { return Ok(None) };
        let image = read(path)?.into_rgba8();
        let mask = self.mask.as_deref().map(|path| read_mask(path, image.dimensions())).transpose()?;
        Ok(Some(Init { image, mask, strength: self.strength }))
    }
}

impl Init {
    /// Width and height of the picture.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.image.width() as usize, self.image.height() as usize)
    }

    /// The picture at a size: as much of its middle as has the shape.
    pub(super) fn at(&self, width: usize, height: usize) -> InitImage {
        let size = (width as u32, height as u32);
        let image = DynamicImage::ImageRgba8(self.image.clone());
        let image = fill(image, size, FilterType::Lanczos3).into_rgba8();
        let mask = self.mask.clone().map(|mask| {
            // Lanczos would ring at the mask's edges.
            fill(DynamicImage::ImageLuma8(mask), size, FilterType::Triangle).into_luma8()
        });
        let bytes = |bytes: Vec<u8>| -> Arc<[u8]> { bytes.into() };
        InitImage::new(bytes(image.into_raw()), mask.map(|mask| bytes(mask.into_raw())), self.strength)
    }
}

fn fill(image: DynamicImage, (width, height): (u32, u32), filter: FilterType) -> DynamicImage {
    if (image.width(), image.height()) == (width, height) {
        return image;
    }
    image.resize_to_fill(width, height, filter)
}

fn read_mask(path: &Path, size: (u32, u32)) -> Result<GrayImage> {
    let mask = read(path)?.into_luma_alpha8();
    if mask.dimensions() != size {
        let ((width, height), found) = (size, mask.dimensions());
        let reason =
            format!("must be of {width}x{height} pixels as the picture is, not {}x{}", found.0, found.1);
        return Err(Error::Parameter { name: "mask".into(), reason });
    }
    let mut drawn = GrayImage::new(size.0, size.1);
    for (drawn, pixel) in drawn.pixels_mut().zip(mask.pixels()) {
        let [value, alpha] = pixel.0;
        drawn.0 = [(u32::from(value) * u32::from(alpha) / 255) as u8];
    }
    Ok(drawn)
}

/// Decodes a file within bounds, the right way up.
fn read(path: &Path) -> Result<DynamicImage> {
    let file = path.display().to_string();
    let failed = |error: image::ImageError| Error::Image { file: file.clone(), reason: error.to_string() };
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::FileNotFound { file: file.clone() },
        _ => Error::Io { file: file.clone(), reason: error.to_string() },
    };
    let reader = ImageReader::open(path).map_err(unreadable)?;
    let mut reader = reader.with_guessed_format().map_err(unreadable)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    if decoder.total_bytes() > MAX_BYTES {
        let (width, height) = decoder.dimensions();
        let reason = format!("its {width}x{height} pixels are too many");
        return Err(Error::Image { file, reason });
    }
    let orientation = decoder.orientation().map_err(failed)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    Ok(image)
}
