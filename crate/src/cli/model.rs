//! The model that a command works on: a folder, or a single-file checkpoint.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use clap::Args;
use easel::error::{Error, Result};
use easel::weights::single_file::{Companions, Prediction, SingleFileSource};
use easel::weights::source::{FolderSource, LocalBoxFuture, Source};

use super::files::{open_model, verify};

/// The merges of CLIP's tokenizer, which checkpoints do not carry.
const MERGES: &str = include_str!("../../../assets/clip/merges.txt");

#[derive(Args)]
pub(super) struct ModelFiles {
    /// Folder of a model in diffusers layout, or a single-file checkpoint (.safetensors).
    #[arg(long)]
    pub(super) model: PathBuf,
    #[command(flatten)]
    pub(super) checkpoint: CheckpointOptions,
}

/// What a single-file checkpoint does not say.
#[derive(Args, Clone, Default)]
pub(super) struct CheckpointOptions {
    /// Folder in diffusers layout whose configs and tokenizer a single-file checkpoint gets; inferred by default.
    #[arg(long)]
    config: Option<PathBuf>,
    /// epsilon or v_prediction: what a single-file checkpoint's UNet predicts, where Easel guesses wrong.
    #[arg(long, value_parser = parse_prediction)]
    prediction_type: Option<Prediction>,
}

fn parse_prediction(text: &str) -> std::result::Result<Prediction, String> {
    Prediction::from_name(text).ok_or_else(|| format!("must be epsilon or v_prediction, not {text:?}"))
}

impl ModelFiles {
    pub(super) fn at(model: &Path, checkpoint: &CheckpointOptions) -> Self {
        Self { model: model.to_owned(), checkpoint: checkpoint.clone() }
    }

    /// Name of the folder, or of the file without its extension; empty for a path that ends in none.
    pub(super) fn name(&self) -> String {
        let name = if self.model.is_file() { self.model.file_stem() } else { self.model.file_name() };
        name.unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Opens the files; nothing but a manifest or a header is read.
    ///
    /// # Errors
    /// Those of [`SingleFileSource::open`] or of a folder's manifest; [`Error::Parameter`] for an option that only
    /// single files have.
    pub(super) async fn open(&self) -> Result<Model> {
        if self.model.is_file() {
            return Ok(Model::SingleFile(self.open_single_file().await?));
        }
        self.checkpoint.refuse()?;
        Ok(Model::Folder(open_model(&self.model).await?))
    }

    async fn open_single_file(&self) -> Result<SingleFileSource> {
        let missing = || Error::FileNotFound { file: self.model.display().to_string() };
        let name = self.model.file_name().and_then(|name| name.to_str()).ok_or_else(missing)?;
        let folder = FolderSource::new(self.model.parent().unwrap_or(Path::new("")));
        SingleFileSource::open(Box::new(folder), name, self.checkpoint.companions()).await
    }
}

impl CheckpointOptions {
    /// What was given, option by option.
    pub(super) fn words(&self) -> impl Iterator<Item = String> {
        let config = self.config.as_ref().map(|config| format!("--config={}", config.display()));
        let prediction = self.prediction_type.map(|it| format!("--prediction-type={}", it.name()));
        config.into_iter().chain(prediction)
    }

    pub(super) fn companions(&self) -> Companions {
        Companions {
            merges: MERGES.to_owned(),
            prediction: self.prediction_type,
            config: self.config.as_ref().map(|config| Box::new(FolderSource::new(config)) as _),
        }
    }

    /// Refuses options for a model that is a folder.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub(super) fn refuse(&self) -> Result<()> {
        let given = [("config", self.config.is_some()), ("prediction-type", self.prediction_type.is_some())];
        match given.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => {
                let reason = "is for single-file checkpoints; a folder has its own configs".to_owned();
                Err(Error::Parameter { name: name.to_owned(), reason })
            }
            None => Ok(()),
        }
    }
}

/// An open model.
pub(super) enum Model {
    Folder(FolderSource),
    SingleFile(SingleFileSource),
}

impl Model {
    /// Compares a folder with its manifest, if it has one, while something else goes on.
    pub(super) fn verify(&self) -> Option<JoinHandle<Result<()>>> {
        match self {
            Self::Folder(source) => Some(verify(source)),
            Self::SingleFile(_) => None,
        }
    }

    fn source(&self) -> &dyn Source {
        match self {
            Self::Folder(source) => source,
            Self::SingleFile(source) => source,
        }
    }
}

impl Source for Model {
    fn size<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<u64>>> {
        self.source().size(path)
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> LocalBoxFuture<'a, Result<Vec<u8>>> {
        self.source().read(path, range)
    }
}
