//! `easel generate` over pictures that the user gives.

#[path = "support/command.rs"]
mod command;

use std::error::Error;
use std::fs;

use command::{Easel, GOLDENS};
use serde_json::Value;

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// Slopes `[height, width, 3]`, so that every part differs from every other.
fn slopes(width: usize, height: usize) -> Vec<u8> {
    let pixel = |x: usize, y: usize| [(x * 255 / width) as u8, (y * 255 / height) as u8, (x + y) as u8];
    (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect()
}

/// A PNG of 8 bits a channel.
fn png_of(width: usize, height: usize, color: png::ColorType, bytes: &[u8]) -> TestResult<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(color);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    writer.finish()?;
    Ok(file)
}

fn webp_of(width: usize, height: usize, rgb: &[u8]) -> TestResult<Vec<u8>> {
    let mut file = Vec::new();
    let encoder = image_webp::WebPEncoder::new(&mut file);
    encoder.encode(rgb, width as u32, height as u32, image_webp::ColorType::Rgb8)?;
    Ok(file)
}

/// Writes a file into the folder of `easel` and gives its path.
fn save(easel: &Easel, name: &str, bytes: &[u8]) -> TestResult<String> {
    fs::write(easel.path(name), bytes)?;
    Ok(easel.path(name).to_string_lossy().into_owned())
}

/// RGB bytes of the picture that was drawn.
fn drawn(easel: &Easel) -> TestResult<Vec<u8>> {
    let file = fs::File::open(easel.path("out.png"))?;
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().ok_or("a picture that fits memory")?];
    reader.next_frame(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn a_picture_gives_its_size_and_strength_the_steps() -> TestResult {
    let easel = Easel::with_model("init", "sd1");
    let rgb = slopes(33, 47);
    let png = save(&easel, "a.png", &png_of(33, 47, png::ColorType::Rgb, &rgb)?)?;
    let webp = save(&easel, "a.webp", &webp_of(33, 47, &rgb)?)?;
    let drawn_from = |path: &str, size: Option<&str>| -> TestResult<Value> {
        let mut options = vec![("--init", path), ("--strength", "0.5"), ("--steps", "4"), ("--json", "")];
        options.extend(size.map(|size| ("--size", size)));
        Ok(serde_json::from_str(&easel.generate(&options).success())?)
    };
    let report = drawn_from(&png, None)?;
    // Two pixels a latent.
    assert_eq!((&report["width"], &report["height"]), (&34.into(), &48.into()));
    assert_eq!(report["strength"], 0.5);
    assert_eq!(report["timings_ms"]["steps"].as_array().map(Vec::len), Some(2));
    let picture = drawn(&easel)?;
    drawn_from(&webp, None)?;
    assert_eq!(drawn(&easel)?, picture, "the same pixels in another format");
    let report = drawn_from(&webp, Some("16x32"))?;
    assert_eq!((&report["width"], &report["height"]), (&16.into(), &32.into()));
    Ok(())
}

#[test]
fn what_the_mask_keeps_is_kept_to_the_byte() -> TestResult {
    let easel = Easel::with_model("mask", "sd1");
    let original = slopes(32, 32);
    let init = save(&easel, "init.png", &png_of(32, 32, png::ColorType::Rgb, &original)?)?;
    let left: Vec<u8> = (0..32 * 32).map(|i| if i % 32 < 16 { 255 } else { 0 }).collect();
    let mask = save(&easel, "mask.png", &png_of(32, 32, png::ColorType::Grayscale, &left)?)?;
    easel.generate(&[("--init", &init), ("--mask", &mask)]).success();
    let drawn = drawn(&easel)?;
    let changed: Vec<bool> =
        drawn.chunks(3).zip(original.chunks(3)).map(|(drawn, original)| drawn != original).collect();
    assert!(
        changed.iter().zip(&left).all(|(changed, mask)| *mask == 255 || !changed),
        "the kept half changed"
    );
    assert!(changed.contains(&true), "nothing was drawn");
    Ok(())
}

/// Where nothing is drawn, what comes out is what was read.
#[test]
fn a_photo_is_turned_upright() -> TestResult {
    let easel = Easel::with_model("photo", "sd1");
    let photo = format!("{GOLDENS}/photo.jpg");
    let black = save(&easel, "black.png", &png_of(32, 48, png::ColorType::Grayscale, &[0; 32 * 48])?)?;
    easel.generate(&[("--init", &photo), ("--mask", &black)]).success();
    let rows: Vec<u8> = drawn(&easel)?.chunks(32 * 3).map(|row| row[0]).collect();
    assert_eq!(rows.len(), 48);
    // JPEG's losses.
    let close = |(y, value): (usize, &u8)| (*value as i32 - (y * 255 / 47) as i32).abs() < 6;
    assert!(rows.iter().enumerate().all(close), "{rows:?}");
    Ok(())
}

#[test]
fn what_is_no_picture_is_named() -> TestResult {
    let easel = Easel::with_model("no-picture", "sd1");
    let whole = png_of(32, 32, png::ColorType::Rgb, &slopes(32, 32))?;
    let init = save(&easel, "init.png", &whole)?;
    let other = save(&easel, "other.png", &png_of(16, 32, png::ColorType::Rgb, &slopes(16, 32))?)?;
    let mut huge = whole.clone();
    // The width in the header, and the checksum over the header's type and contents.
    huge[16..20].copy_from_slice(&100_000_u32.to_be_bytes());
    let checksum = crc32(&huge[12..29]);
    huge[29..33].copy_from_slice(&checksum.to_be_bytes());
    let photo = fs::read(format!("{GOLDENS}/photo.jpg"))?;
    let webp = webp_of(32, 32, &slopes(32, 32))?;
    for (name, bytes) in [
        ("text.png", b"<svg/>".as_slice()),
        ("huge.png", &huge),
        ("half.png", &whole[..whole.len() / 2]),
        ("header.jpg", &photo[..20]),
        ("half.webp", &webp[..webp.len() / 2]),
    ] {
        let path = save(&easel, name, bytes)?;
        easel.generate(&[("--init", &path)]).failure("bad_image", &[name]);
    }
    let none = easel.path("none.png").to_string_lossy().into_owned();
    easel.generate(&[("--init", &none)]).failure("file_not_found", &["none.png"]);
    easel.generate(&[("--init", &init), ("--mask", &other)]).failure("bad_parameter", &["mask", "32x32"]);
    easel.generate(&[("--init", &init), ("--strength", "2")]).failure("bad_parameter", &["strength"]);
    easel.generate(&[("--init", &init), ("--strength", "0.01")]).failure("bad_parameter", &["strength"]);
    easel.generate(&[("--strength", "0.5")]).failure("bad_parameter", &["--init"]);
    assert!(!easel.names().contains(&"out.png".to_owned()), "a picture was drawn");
    Ok(())
}

/// The checksum of PNG's chunks (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _: i32| (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !bytes.iter().fold(!0, byte)
}
