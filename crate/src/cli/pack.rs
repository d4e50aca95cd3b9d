//! `easel pack`.

use std::fs;
use std::path::Path;

use easel::error::Result;
use easel::pipeline::{Description, Part};
use easel::weights::manifest::Manifest;
use easel::weights::pack::{Target as _, pack_part};
use easel::weights::source::{MAX_VOCABULARY_BYTES, Source, read_bytes};

use super::Pack;
use super::model::Model;
use super::packed_folder::{PackedFolder, failed};

/// Endings of files that are copied, beside weights, when they lie in the model's folder or in a part's.
const TEXTS: [&str; 3] = ["json", "txt", "md"];

pub(super) async fn run(options: &Pack) -> Result<()> {
    let source = options.model.open().await?;
    let verification = source.verify();
    let parts = Description::read(&source).await?.parts();
    let mut folder = PackedFolder::create(&options.out)?;
    for part in parts.iter().filter(|part| part.has_weights()) {
        folder.say(format!("packing {}", part.folder()));
        pack_part(&source, part.folder(), &options.quant, options.shard_mib << 20, &mut folder).await?;
    }
    copy_texts(&source, texts(&options.model.model, &source, &parts).await?, &mut folder).await?;
    if let Some(verification) = verification {
        verification.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    finish(folder, &options.out)
}

/// Files of a model that are not weights.
pub(super) async fn texts(place: &Path, model: &Model, parts: &[Part]) -> Result<Vec<String>> {
    match model {
        Model::Folder(_) => texts_of_folder(place, parts),
        Model::SingleFile(file) => file.texts().await,
    }
}

/// Copies what the folder does not have yet.
pub(super) async fn copy_texts(
    source: &dyn Source,
    texts: Vec<String>,
    folder: &mut PackedFolder<'_>,
) -> Result<()> {
    for path in texts.into_iter().filter(|path| !folder.has(path)).collect::<Vec<_>>() {
        let bytes = read_bytes(source, &path, MAX_VOCABULARY_BYTES).await?.unwrap_or_default();
        folder.append(&path, &bytes)?;
    }
    Ok(())
}

/// Gives the folder its name and says what it holds.
pub(super) fn finish(folder: PackedFolder<'_>, out: &Path) -> Result<()> {
    let (files, bytes) = folder.finish()?;
    println!("{}: {files} files, {:.1} MB", out.display(), bytes as f64 / 1e6);
    Ok(())
}

/// Configs, tokenizer and licences, relative to the model's folder; indexes and manifests are written anew.
fn texts_of_folder(model: &Path, parts: &[Part]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["", "scheduler"].into_iter().chain(parts.iter().map(|part| part.folder())) {
        let place = model.join(folder);
        let entries = fs::read_dir(&place).map_err(|error| failed(&place, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| failed(&place, &error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            let is_text = TEXTS.contains(&extension.as_ref()) || name.starts_with("LICENSE");
            let is_written = name.contains(".safetensors.index.") || name == Manifest::FILE;
            if path.is_file() && is_text && !is_written {
                found.push(if folder.is_empty() { name } else { format!("{folder}/{name}") });
            }
        }
    }
    found.sort();
    Ok(found)
}
