//! `easel pack`.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use easel::error::{Error, Result};
use easel::pipeline::{Description, Part};
use easel::weights::manifest::{Manifest, ManifestFile, hex};
use easel::weights::pack::{Target, pack_part};
use easel::weights::source::{MAX_VOCABULARY_BYTES, read_bytes};
use sha2::{Digest as _, Sha256};

use super::Pack;
use super::generate::progress_bar;
use super::model::Model;

/// Endings of files that are copied, beside weights, when they lie in the model's folder or in a part's.
const TEXTS: [&str; 3] = ["json", "txt", "md"];

pub(super) async fn run(options: &Pack) -> Result<()> {
    let source = options.model.open().await?;
    let verification = source.verify();
    let parts = Description::read(&source).await?.parts();
    if options.out.exists() {
        return Err(failed(&options.out, &"it exists; name a new folder"));
    }
    let mut folder = Folder::create(&options.out)?;
    let bar = progress_bar();
    for part in parts.iter().filter(|part| part.has_weights()) {
        bar.set_message(format!("packing {}", part.folder()));
        bar.tick();
        pack_part(&source, part.folder(), &options.quant, options.shard_mib << 20, &mut folder).await?;
    }
    let texts = match &source {
        Model::Folder(_) => texts(&options.model.model, &parts)?,
        Model::SingleFile(file) => file.texts().await?,
    };
    for path in texts {
        let bytes = read_bytes(&source, &path, MAX_VOCABULARY_BYTES).await?.unwrap_or_default();
        folder.append(&path, &bytes)?;
    }
    if let Some(verification) = verification {
        verification.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    let (files, bytes) = folder.finish()?;
    bar.finish_and_clear();
    println!("{}: {files} files, {:.1} MB", options.out.display(), bytes as f64 / 1e6);
    Ok(())
}

/// Configs, tokenizer and licences, relative to the model's folder; indexes and manifests are written anew.
fn texts(model: &Path, parts: &[Part]) -> Result<Vec<String>> {
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

/// A folder in the making: it has another name until it is whole, and is removed when it never gets so.
struct Folder {
    part: PathBuf,
    whole: PathBuf,
    open: Option<OpenFile>,
    files: Vec<ManifestFile>,
}

struct OpenFile {
    path: String,
    file: BufWriter<File>,
    hash: Sha256,
    size: u64,
}

impl Folder {
    fn create(whole: &Path) -> Result<Self> {
        let part = whole.with_added_extension("part");
        fs::create_dir(&part).map_err(|error| failed(&part, &error))?;
        Ok(Self { part, whole: whole.to_owned(), open: None, files: Vec::new() })
    }

    fn begin(&self, path: &str) -> Result<OpenFile> {
        let place = self.part.join(path);
        let created =
            place.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create_new(&place));
        let file = BufWriter::new(created.map_err(|error| failed(&place, &error))?);
        Ok(OpenFile { path: path.to_owned(), file, hash: Sha256::new(), size: 0 })
    }

    fn close(&mut self) -> Result<()> {
        let Some(OpenFile { path, mut file, hash, size }) = self.open.take() else { return Ok(()) };
        file.flush().map_err(|error| failed(Path::new(&path), &error))?;
        self.files.push(ManifestFile { path, size, sha256: hex(&hash.finalize()) });
        Ok(())
    }

    /// Writes the manifest and gives the folder its name; tells how many files and bytes there are.
    fn finish(mut self) -> Result<(usize, u64)> {
        self.close()?;
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let (count, bytes) = (self.files.len(), self.files.iter().map(|file| file.size).sum());
        let manifest = Manifest::new(std::mem::take(&mut self.files));
        let place = self.part.join(Manifest::FILE);
        let text = serde_json::to_string_pretty(&manifest).map_err(|error| failed(&place, &error))?;
        fs::write(&place, text).map_err(|error| failed(&place, &error))?;
        fs::rename(&self.part, &self.whole).map_err(|error| failed(&self.whole, &error))?;
        Ok((count, bytes))
    }
}

impl Target for Folder {
    fn append(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) if open.path == path => open,
            other => {
                self.open = other;
                self.close()?;
                self.begin(path)?
            }
        };
        open.file.write_all(bytes).map_err(|error| failed(Path::new(path), &error))?;
        open.hash.update(bytes);
        open.size += bytes.len() as u64;
        self.open = Some(open);
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // After success there is nothing of this name.
        let _ = fs::remove_dir_all(&self.part);
    }
}

fn failed(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::Io { file: path.display().to_string(), reason: reason.to_string() }
}
