//! Picture files that the user gives: decoded within bounds, the right way up.

use std::io::Cursor;
use std::path::Path;

use easel::error::{Error, Result};
use image_webp::WebPDecoder;
use png::Transformations;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::exif;

/// Larger files are not read, and larger sides are refused before anything is allocated.
const MAX_FILE: u64 = 256 << 20;
const MAX_SIDE: usize = 1 << 14;
const MAX_PIXELS: usize = 1 << 26;

/// A decoded picture, 8-bit RGBA, row by row from the top.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) rgba: Vec<u8>,
}

/// Reads a PNG, JPEG or WebP file; its first bytes tell which.
pub(super) fn read(path: &Path) -> Result<Picture> {
    let file = path.display().to_string();
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::FileNotFound { file: file.clone() },
        _ => Error::Io { file: file.clone(), reason: error.to_string() },
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(Error::Image { file, reason: format!("it has more than {} MiB", MAX_FILE >> 20) });
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let decoded = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => decode_png(&bytes),
        [0xff, 0xd8, ..] => decode_jpeg(&bytes),
        [b'R', b'I', b'F', b'F', ..] => decode_webp(&bytes),
        _ => Err("its first bytes are of another kind of file".to_owned()),
    };
    decoded.map_err(|reason| Error::Image { file, reason })
}

/// What goes wrong in a decoder is a clause for [`Error::Image`].
type Decoded<T = Picture> = std::result::Result<T, String>;

/// A decoder's own words, which may be several lines, in one.
fn said(error: impl std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn check_size(width: usize, height: usize) -> Decoded<()> {
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS {
        return Err(format!("it says that it has {width}x{height} pixels"));
    }
    Ok(())
}

fn decode_png(bytes: &[u8]) -> Decoded {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16 | Transformations::ALPHA);
    let mut reader = decoder.read_info().map_err(said)?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    check_size(width, height)?;
    let orientation = info.exif_metadata.as_deref().map_or(1, exif::orientation);
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("it is too large")?];
    let frame = reader.next_frame(&mut pixels).map_err(said)?;
    let rgba = match frame.color_type {
        png::ColorType::Rgba => pixels,
        _ => pixels.as_chunks().0.iter().flat_map(|[grey, alpha]| [*grey, *grey, *grey, *alpha]).collect(),
    };
    Ok(exif::upright(Picture { width, height, rgba }, orientation))
}

fn decode_jpeg(bytes: &[u8]) -> Decoded {
    let options = DecoderOptions::default()
        .set_max_width(MAX_SIDE)
        .set_max_height(MAX_SIDE)
        .jpeg_set_out_colorspace(ColorSpace::RGBA);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(said)?;
    let info = decoder.info().ok_or("it has no header")?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    check_size(width, height)?;
    let rgba = decoder.decode().map_err(said)?;
    if rgba.len() != width * height * 4 {
        return Err("its colours are of a kind that is not read".to_owned());
    }
    let orientation = decoder.exif().map_or(1, |exif| exif::orientation(exif));
    Ok(exif::upright(Picture { width, height, rgba }, orientation))
}

fn decode_webp(bytes: &[u8]) -> Decoded {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(said)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height)?;
    decoder.set_memory_limit(MAX_PIXELS * 4);
    let mut pixels = vec![0; decoder.output_buffer_size().ok_or("it is too large")?];
    decoder.read_image(&mut pixels).map_err(said)?;
    let rgba = if decoder.has_alpha() {
        pixels
    } else {
        pixels.as_chunks().0.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]).collect()
    };
    let exif = decoder.exif_metadata().map_err(said)?;
    Ok(exif::upright(Picture { width, height, rgba }, exif.as_deref().map_or(1, exif::orientation)))
}
