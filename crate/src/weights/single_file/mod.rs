//! Single-file checkpoints (`.safetensors` with `model.diffusion_model.*`, `cond_stage_model.*` or `conditioner.*`, and
//! `first_stage_model.*`), shown as a folder in diffusers layout.
//!
//! Names are mapped and configs are inferred from the header alone; the numbers stay where they are. Whoever reads a
//! tensor of the folder reads the checkpoint's bytes.

mod checkpoint;
mod configs;
mod folder;
mod original_names;
mod packed;
mod part;
mod scheduler;
mod text_encoder;
mod tokenizer;
mod unet;
mod unet_blocks;
mod vae;

use std::ops::Range;

use crate::error::{Error, Result};
use crate::weights::safetensors;
use crate::weights::source::{LocalBoxFuture, Source, check_path};
use checkpoint::Checkpoint;
use folder::Folder;
pub use original_names::original_names;
pub(super) use packed::{METADATA_KEY, Packable};
pub(super) use part::{Renamed, turned};
pub use scheduler::Prediction;

/// Endings of pickles. A pickle under another name fails as a damaged header.
const PICKLES: [&str; 5] = [".ckpt", ".pt", ".pth", ".bin", ".pkl"];

/// Files that are not weights.
const TEXTS: [&str; 18] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder_2/config.json",
    "tokenizer/added_tokens.json",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer_2/added_tokens.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/special_tokens_map.json",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/vocab.json",
    "unet/config.json",
    "vae/config.json",
];

/// What the file itself does not hold or say.
#[derive(Default)]
pub struct Companions {
    /// The text of CLIP's `merges.txt` (`assets/clip/merges.txt`), from which the tokenizer is made. Empty where
    /// `config` has a tokenizer.
    pub merges: String,
    /// What the UNet predicts, where the user knows better than the file.
    pub prediction: Option<Prediction>,
    /// Configs and tokenizers in diffusers layout that go before those inferred; weights in it are not looked at.
    pub config: Option<Box<dyn Source>>,
}

/// A single-file checkpoint as a folder in diffusers layout.
pub struct SingleFileSource {
    checkpoint: Box<dyn Source>,
    file: String,
    config: Option<Box<dyn Source>>,
    folder: Folder,
}

impl SingleFileSource {
    /// Reads the header of `file` of `checkpoint`, which may have been packed.
    ///
    /// # Errors
    /// [`Error::UnsupportedClass`] for a pickle, for a file without UNet, text encoder or VAE, and for tensors of other
    /// families; those of [`safetensors::read_header`].
    pub async fn open(
        checkpoint: Box<dyn Source>,
        file: impl Into<String>,
        companions: Companions,
    ) -> Result<Self> {
        let file = file.into();
        refuse_pickle(&file)?;
        let header = safetensors::read_header(checkpoint.as_ref(), &file).await?;
        let parsed = Checkpoint { file: &file, header: &header };
        let folder = match packed::contents(&file, &header)? {
            Some(contents) => contents.folder(&parsed, checkpoint.as_ref(), &companions).await?,
            None => Folder::of(&parsed, checkpoint.as_ref(), &companions).await?,
        };
        Ok(Self { checkpoint, file, config: companions.config, folder })
    }

    /// Paths of the files that are there and are not weights.
    ///
    /// # Errors
    /// Those of the config folder.
    pub async fn texts(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for path in TEXTS {
            if self.size_now(path).await?.is_some() {
                found.push(path.to_owned());
            }
        }
        Ok(found)
    }

    /// First byte in the checkpoint of the weights of the part `folder`; `None` for one that has none.
    #[must_use]
    pub fn start_of(&self, folder: &str) -> Option<u64> {
        let is_it = |path: &str| path.split('/').next() == Some(folder);
        self.folder
            .parts
            .iter()
            .find(|(path, _)| is_it(path))
            .and_then(|(_, part)| part.tensors().first())
            .map(|tensor| tensor.info().range.start)
    }

    /// The config folder, with the size of the file, where that has it.
    async fn configured(&self, path: &str) -> Result<Option<(&dyn Source, u64)>> {
        let Some(config) = self.config.as_deref().filter(|_| TEXTS.contains(&path)) else { return Ok(None) };
        Ok(config.size(path).await?.map(|size| (config, size)))
    }

    async fn size_now(&self, path: &str) -> Result<Option<u64>> {
        check_path(path)?;
        if let Some(part) = self.folder.parts.get(path) {
            return Ok(Some(part.size()));
        }
        if let Some((_, size)) = self.configured(path).await? {
            return Ok(Some(size));
        }
        Ok(self.folder.texts.get(path).map(|text| text.len() as u64))
    }

    async fn read_now(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>> {
        check_path(path)?;
        let outside =
            || Error::Io { file: path.to_owned(), reason: "it ends before the bytes asked for".to_owned() };
        if let Some(part) = self.folder.parts.get(path) {
            if range.start > range.end || range.end > part.size() {
                return Err(outside());
            }
            return part.read(self.checkpoint.as_ref(), &self.file, range).await;
        }
        if let Some((config, _)) = self.configured(path).await? {
            return config.read(path, range).await;
        }
        let text =
            self.folder.texts.get(path).ok_or_else(|| Error::FileNotFound { file: path.to_owned() })?;
        let inside = || text.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?);
        inside().map(<[u8]>::to_vec).ok_or_else(outside)
    }
}

impl Source for SingleFileSource {
    fn size<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<u64>>> {
        Box::pin(self.size_now(path))
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> LocalBoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(self.read_now(path, range))
    }
}

/// Whether a file's name has an ending of pickles.
#[must_use]
pub fn is_pickle(file: &str) -> bool {
    let lower = file.to_ascii_lowercase();
    PICKLES.iter().any(|ending| lower.ends_with(ending))
}

fn refuse_pickle(file: &str) -> Result<()> {
    if is_pickle(file) {
        let supported = "safetensors weights only: opening a pickle can run code".to_owned();
        return Err(Error::UnsupportedClass { file: file.to_owned(), class: "pickle".to_owned(), supported });
    }
    Ok(())
}
