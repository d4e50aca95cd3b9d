//! Files that the commands read and write, other than models.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use easel::error::{Error, Result};
use easel::pipeline::{Given, Numbers};
use easel::weights::Weights;
use easel::weights::dump::{NamedTensor, write};
use easel::weights::manifest::Manifest;
use easel::weights::source::FolderSource;

use super::infotext;

/// The path with `-number` before its extension.
pub(super) fn numbered(path: &Path, number: u64) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or(String::new(), |it| format!(".{}", it.to_string_lossy()));
    path.with_file_name(format!("{stem}-{number}{extension}"))
}

/// A model's folder. Where it has a manifest, its files have the sizes that it says.
pub(super) async fn open_model(folder: &Path) -> Result<FolderSource> {
    let source = FolderSource::new(folder);
    if let Some(manifest) = Manifest::read(&source).await? {
        manifest.check_sizes(&source).await?;
    }
    Ok(source)
}

/// Compares the files of a model with its manifest, if it has one, while something else goes on.
pub(super) fn verify(source: &FolderSource) -> JoinHandle<Result<()>> {
    let source = source.clone();
    std::thread::spawn(move || {
        cubecl::future::block_on(async {
            match Manifest::read(&source).await? {
                Some(manifest) => manifest.verify(&source).await,
                None => Ok(()),
            }
        })
    })
}

/// Reads `latents` and `noise.N` from a safetensors file.
pub(super) async fn read_latents(path: &Path) -> Result<Given> {
    let missing = || Error::FileNotFound { file: path.display().to_string() };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(missing)?;
    let source = FolderSource::new(path.parent().unwrap_or(Path::new("")));
    let weights = Weights::open_file(&source, name).await?;
    let mut given = Given { latents: Some(read(&weights, "latents").await?), ..Given::default() };
    let calls: Vec<usize> =
        weights.names().filter_map(|name| name.strip_prefix("noise.")?.parse().ok()).collect();
    for call in calls {
        given.noise.insert(call, read(&weights, &format!("noise.{call}")).await?);
    }
    Ok(given)
}

async fn read(weights: &Weights<'_>, name: &str) -> Result<Numbers> {
    let shape = weights.shape(name).unwrap_or_default().to_vec();
    Ok(Numbers { values: weights.read_f32(name, &shape).await?, shape })
}

/// Writes a safetensors file.
pub(super) fn write_dump(path: &Path, tensors: &[NamedTensor]) -> Result<()> {
    let file = path.display().to_string();
    write_whole(path, &write(&file, tensors)?)
}

/// Writes a picture `[pixels, 3]` in 0..1 as an 8-bit PNG that says how it was made.
pub(super) fn write_png(path: &Path, rgb: &[f32], (width, height): (usize, usize), text: &str) -> Result<()> {
    let failed = |reason: String| Error::Io { file: path.display().to_string(), reason };
    let bytes: Vec<u8> = rgb.iter().map(|value| (value * 255.0).round() as u8).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let (keyword, text) = (infotext::KEYWORD.to_owned(), text.to_owned());
    let added = if infotext::fits_latin1(&text) {
        encoder.add_text_chunk(keyword, text)
    } else {
        encoder.add_itxt_chunk(keyword, text)
    };
    let written = added.and_then(|()| encoder.write_header()).and_then(|mut writer| {
        writer.write_image_data(&bytes)?;
        writer.finish()
    });
    written.map_err(|error| failed(error.to_string()))?;
    write_whole(path, &file)
}

/// Refuses a place where no file can be written, before the work that would be lost.
pub(super) fn check_place(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |reason: String| Err(Error::Io { file: path.display().to_string(), reason });
    if path.is_dir() || path.to_string_lossy().ends_with(std::path::is_separator) {
        return failed("it is a folder; name a file".to_owned());
    }
    if !folder.is_dir() {
        return failed("its folder does not exist".to_owned());
    }
    let part = part_of(path);
    let written = std::fs::File::create(&part).and_then(|_| std::fs::remove_file(&part));
    written.or_else(|error| failed(error.to_string()))
}

/// Pictures are written as PNG, which another ending would hide.
pub(super) fn check_ending(path: &Path) -> Result<()> {
    let others = ["jpg", "jpeg", "webp", "avif", "gif", "bmp", "tif", "tiff"];
    let ending = path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
    if !ending.is_some_and(|ending| others.iter().any(|other| ending == *other)) {
        return Ok(());
    }
    let reason = "pictures are PNG files; name one that ends in .png".to_owned();
    Err(Error::Parameter { name: "out".to_owned(), reason })
}

fn part_of(path: &Path) -> PathBuf {
    path.with_added_extension("part")
}

/// Writes under another name first, so that the file is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = part_of(path);
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&part);
        Error::Io { file: path.display().to_string(), reason: error.to_string() }
    })
}
