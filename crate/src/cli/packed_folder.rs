//! The folder that `easel pack` and `easel import` write.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use easel::error::{Error, Result};
use easel::weights::hash::FileHash;
use easel::weights::manifest::{Manifest, ManifestFile};
use easel::weights::pack::Target;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use super::generate::progress_bar;
use super::http::Progress;

/// Of a part that is none of ours to go on with.
const LEFT: &str = "another run left it: delete it, or name another folder";

/// What says in an unfinished folder how far it got.
const JOURNAL: &str = "import.json";

/// What an unfinished folder is made of, and how far it got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Journal {
    /// Source and options: only the same ones go on.
    of: Vec<String>,
    files: Vec<ManifestFile>,
    progress: Progress,
}

/// A folder in the making: it has another name until it is whole. One that is to be gone on with keeps a journal; any
/// other is removed when it never gets whole.
pub(super) struct PackedFolder<'a> {
    part: PathBuf,
    whole: PathBuf,
    open: Option<OpenFile>,
    files: Vec<ManifestFile>,
    journal: Option<(Vec<String>, &'a dyn Fn() -> Progress)>,
    bar: ProgressBar,
    bytes: u64,
    keep: bool,
}

struct OpenFile {
    path: String,
    file: BufWriter<File>,
    hash: FileHash,
}

impl<'a> PackedFolder<'a> {
    /// A new folder.
    ///
    /// # Errors
    /// [`Error::Io`] when it exists, or an interrupted run left some of it.
    pub(super) fn create(whole: &Path) -> Result<Self> {
        if whole.exists() {
            return Err(failed(whole, &"it exists; name a new folder"));
        }
        let part = whole.with_added_extension("part");
        fs::create_dir(&part).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => failed(&part, &LEFT),
            _ => failed(&part, &error),
        })?;
        Ok(Self::at(part, whole))
    }

    fn at(part: PathBuf, whole: &Path) -> Self {
        Self {
            part,
            whole: whole.to_owned(),
            open: None,
            files: Vec::new(),
            journal: None,
            bar: progress_bar(),
            bytes: 0,
            keep: false,
        }
    }

    /// The folder that an import with the same words `of` left, or a new one. `now` is asked for the source's progress
    /// after each file; what it said before the interruption comes back.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder exists, or another import left it.
    pub(super) fn go_on(
        whole: &Path,
        of: Vec<String>,
        now: &'a dyn Fn() -> Progress,
    ) -> Result<(Self, Option<Progress>)> {
        let part = whole.with_added_extension("part");
        if whole.exists() || !part.exists() {
            let mut folder = Self::create(whole)?;
            folder.journal = Some((of, now));
            folder.write_journal()?;
            return Ok((folder, None));
        }
        let text = fs::read(part.join(JOURNAL)).ok();
        let journal = text.and_then(|text| serde_json::from_slice::<Journal>(&text).ok());
        let journal = journal.filter(|journal| journal.of == of).ok_or_else(|| failed(&part, &LEFT))?;
        let mut folder = Self::at(part, whole);
        folder.bytes = journal.files.iter().map(|file| file.size).sum();
        (folder.files, folder.journal) = (journal.files, Some((of, now)));
        Ok((folder, Some(journal.progress)))
    }

    /// Says what is being done.
    pub(super) fn say(&self, what: String) {
        self.bar.set_message(what);
        self.bar.tick();
    }

    /// Keeps what there is, if there is anything, to be gone on with.
    pub(super) fn keep(&mut self) {
        self.keep = self.journal.is_some() && !self.files.is_empty();
    }

    fn begin(&self, path: &str) -> Result<OpenFile> {
        let place = self.part.join(path);
        let create = if self.journal.is_some() { File::create } else { File::create_new };
        let created = place.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| create(&place));
        let file = BufWriter::new(created.map_err(|error| failed(&place, &error))?);
        Ok(OpenFile { path: path.to_owned(), file, hash: FileHash::default() })
    }

    fn close(&mut self) -> Result<()> {
        let Some(OpenFile { path, mut file, hash }) = self.open.take() else { return Ok(()) };
        let written = file.flush().and_then(|()| file.get_ref().sync_data());
        written.map_err(|error| failed(Path::new(&path), &error))?;
        self.files.push(ManifestFile { path, size: hash.bytes(), sha256: hash.hex() });
        self.write_journal()
    }

    fn write_journal(&self) -> Result<()> {
        let Some((of, now)) = &self.journal else { return Ok(()) };
        let journal = Journal { of: of.clone(), files: self.files.clone(), progress: now() };
        let (new, place) = (self.part.join("import.json.new"), self.part.join(JOURNAL));
        let text = serde_json::to_vec(&journal).map_err(|error| failed(&place, &error))?;
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &place));
        written.map_err(|error| failed(&place, &error))
    }

    /// Writes the manifest and gives the folder its name; tells how many files and bytes there are.
    pub(super) fn finish(mut self) -> Result<(usize, u64)> {
        self.close()?;
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        let (count, bytes) = (self.files.len(), self.files.iter().map(|file| file.size).sum());
        let manifest = Manifest::new(std::mem::take(&mut self.files));
        let place = self.part.join(Manifest::FILE);
        let text = serde_json::to_string_pretty(&manifest).map_err(|error| failed(&place, &error))?;
        fs::write(&place, text).map_err(|error| failed(&place, &error))?;
        if self.journal.take().is_some() {
            fs::remove_file(self.part.join(JOURNAL)).map_err(|error| failed(&self.part, &error))?;
        }
        fs::rename(&self.part, &self.whole).map_err(|error| failed(&self.whole, &error))?;
        self.bar.finish_and_clear();
        Ok((count, bytes))
    }
}

impl Target for PackedFolder<'_> {
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
        self.bytes += bytes.len() as u64;
        self.open = Some(open);
        self.say(format!("{path}, {:.0} MB in all", self.bytes as f64 / 1e6));
        Ok(())
    }

    fn has(&self, path: &str) -> bool {
        self.files.iter().any(|file| file.path == path)
    }
}

impl Drop for PackedFolder<'_> {
    fn drop(&mut self) {
        if !self.keep {
            // After success there is nothing of this name.
            let _ = fs::remove_dir_all(&self.part);
        }
    }
}

/// The error of a place in the file system.
pub(super) fn failed(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::Io { file: path.display().to_string(), reason: reason.to_string() }
}
