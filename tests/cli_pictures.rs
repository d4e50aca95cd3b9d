//! `easel generate` over pictures that the user gives.

#[path = "support/command.rs"]
mod command;

use std::error::Error;
use std::fs;

use command::Easel;
use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};
use serde_json::Value;

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

/// Slopes, so that every part differs from every other.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, ((x + y) % 256) as u8])
    })
}

/// Saves a picture in the folder of `easel` and gives its path.
fn save(easel: &Easel, name: &str, format: ImageFormat, picture: &RgbImage) -> TestResult<String> {
    let path = easel.path(name);
    picture.save_with_format(&path, format)?;
    Ok(path.to_string_lossy().into_owned())
}

#[test]
fn a_picture_gives_its_size_and_strength_the_steps() -> TestResult {
    let easel = Easel::with_model("init", "sd1");
    for (name, format) in
        [("a.png", ImageFormat::Png), ("a.jpg", ImageFormat::Jpeg), ("a.webp", ImageFormat::WebP)]
    {
        let path = save(&easel, name, format, &picture(33, 47))?;
        let output = easel.generate(&[
            ("--init", &path),
            ("--strength", "0.5"),
            ("--steps", "4"),
            ("--sampler", "euler"),
            ("--json", ""),
        ]);
        let report: Value = serde_json::from_str(&output.success())?;
        // Two pixels a latent.
        assert_eq!((&report["width"], &report["height"]), (&34.into(), &48.into()), "{name}");
        assert_eq!(report["strength"], 0.5);
        assert_eq!(report["timings_ms"]["steps"].as_array().map(Vec::len), Some(2));
        assert_eq!(image::open(easel.path("out.png"))?.into_rgb8().dimensions(), (34, 48));
    }
    let path = easel.path("a.png").to_string_lossy().into_owned();
    let sized: Value = serde_json::from_str(
        &easel.generate(&[("--init", &path), ("--size", "16x32"), ("--json", "")]).success(),
    )?;
    assert_eq!(
        (&sized["width"], &sized["height"], &sized["strength"]),
        (&16.into(), &32.into(), &0.8.into())
    );
    Ok(())
}

#[test]
fn what_the_mask_keeps_is_kept_to_the_byte() -> TestResult {
    let easel = Easel::with_model("mask", "sd1");
    let original = picture(32, 32);
    let init = save(&easel, "init.png", ImageFormat::Png, &original)?;
    let mask = easel.path("mask.png");
    GrayImage::from_fn(32, 32, |x, _| Luma([if x < 16 { 255 } else { 0 }])).save(&mask)?;
    easel.generate(&[("--init", &init), ("--mask", &mask.to_string_lossy())]).success();
    let drawn = image::open(easel.path("out.png"))?.into_rgb8();
    let changed = |x: u32, y: u32| drawn.get_pixel(x, y) != original.get_pixel(x, y);
    assert!((0..32).all(|y| (16..32).all(|x| !changed(x, y))), "the kept half changed");
    assert!((0..32).any(|y| (0..16).any(|x| changed(x, y))), "nothing was drawn");
    Ok(())
}

#[test]
fn what_is_no_picture_is_named() -> TestResult {
    let easel = Easel::with_model("no-picture", "sd1");
    let path = |name: &str| easel.path(name).to_string_lossy().into_owned();
    let init = save(&easel, "init.png", ImageFormat::Png, &picture(32, 32))?;
    let other = save(&easel, "other.png", ImageFormat::Png, &picture(16, 32))?;
    fs::write(easel.path("text.png"), "<svg/>")?;
    let mut huge = fs::read(&init)?;
    // The width in the header, and the header's checksum, which is taken over its type and contents.
    huge[16..20].copy_from_slice(&100_000_u32.to_be_bytes());
    let checksum = crc32(&huge[12..29]);
    huge[29..33].copy_from_slice(&checksum.to_be_bytes());
    fs::write(easel.path("huge.png"), &huge)?;
    let whole = fs::read(&init)?;
    fs::write(easel.path("half.png"), &whole[..whole.len() / 2])?;
    for name in ["text.png", "huge.png", "half.png"] {
        easel.generate(&[("--init", &path(name))]).failure("bad_image", &[name]);
    }
    easel.generate(&[("--init", &path("none.png"))]).failure("file_not_found", &["none.png"]);
    easel.generate(&[("--init", &init), ("--mask", &other)]).failure("bad_parameter", &["mask", "32x32"]);
    easel.generate(&[("--init", &init), ("--strength", "2")]).failure("bad_parameter", &["strength"]);
    easel.generate(&[("--init", &init), ("--strength", "0.01")]).failure("bad_parameter", &["strength"]);
    easel.generate(&[("--strength", "0.5")]).failure("bad_parameter", &["--init"]);
    Ok(())
}

/// The checksum of PNG's chunks (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _: i32| (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !bytes.iter().fold(!0, byte)
}
