//! `manifest.json`: every file of a model with its size and SHA-256, as the page and `easel pack` know it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::hash::FileHash;
use super::source::{MAX_VOCABULARY_BYTES, Source, check_path, parse_json, read_to_string};
use crate::error::{Error, Result};

/// What a manifest says of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Path relative to the model's root.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// The files of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    version: u64,
    /// Every file but the manifest itself.
    pub files: Vec<ManifestFile>,
}

impl Manifest {
    /// Name of the file, in the model's root.
    pub const FILE: &str = "manifest.json";

    /// Of these files.
    #[must_use]
    pub fn new(files: Vec<ManifestFile>) -> Self {
        Self { version: 1, files }
    }

    /// That of a model, `None` for a model without.
    ///
    /// # Errors
    /// [`Error::Config`] when it does not parse, names a file twice, or a place outside the model.
    pub async fn read(source: &dyn Source) -> Result<Option<Self>> {
        let Some(text) = read_to_string(source, Self::FILE, MAX_VOCABULARY_BYTES).await? else {
            return Ok(None);
        };
        let manifest: Self = parse_json(Self::FILE, &text)?;
        manifest.check()?;
        Ok(Some(manifest))
    }

    fn check(&self) -> Result<()> {
        let bad = |field: String, reason: &str| Error::Config {
            file: Self::FILE.to_owned(),
            field,
            reason: reason.to_owned(),
        };
        if self.version != 1 {
            return Err(bad("version".to_owned(), "is not 1, the version that Easel reads"));
        }
        let mut seen = BTreeSet::new();
        for (i, file) in self.files.iter().enumerate() {
            let is_hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
            if check_path(&file.path).is_err() || !seen.insert(&file.path) {
                return Err(bad(format!("files[{i}].path"), "is no path in the model, or comes twice"));
            }
            if file.sha256.len() != 64 || !file.sha256.bytes().all(is_hex) {
                return Err(bad(format!("files[{i}].sha256"), "is not 64 hexadecimal digits"));
            }
        }
        Ok(())
    }

    /// Whether all files are there in their sizes.
    ///
    /// # Errors
    /// [`Error::FileNotFound`] or [`Error::DamagedFile`] with the name of the first file that is not.
    pub async fn check_sizes(&self, source: &dyn Source) -> Result<()> {
        for file in &self.files {
            let found = source.size(&file.path).await?;
            let found = found.ok_or_else(|| Error::FileNotFound { file: file.path.clone() })?;
            if found != file.size {
                let reason = format!("it has {found} bytes, the manifest says {}", file.size);
                return Err(Error::DamagedFile { file: file.path.clone(), reason });
            }
        }
        Ok(())
    }

    /// Whether all files are there, byte for byte.
    ///
    /// # Errors
    /// Those of [`Self::check_sizes`] and of the source.
    pub async fn verify(&self, source: &dyn Source) -> Result<()> {
        self.check_sizes(source).await?;
        for file in &self.files {
            let mut hash = FileHash::default();
            for piece in super::pieces(0..file.size) {
                hash.update(&source.read(&file.path, piece).await?);
            }
            if hash.hex() != file.sha256 {
                let reason = "its SHA-256 is not the manifest's".to_owned();
                return Err(Error::DamagedFile { file: file.path.clone(), reason });
            }
        }
        Ok(())
    }
}

/// Bytes in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
