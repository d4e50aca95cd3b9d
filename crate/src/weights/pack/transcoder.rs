//! One file of weights, packed as its bytes arrive.

use std::ops::Range;

use super::check_names;
use super::recipe::{Item, Recipe, Step};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::quantization::Policy;
use crate::weights::hash::FileHash;
use crate::weights::packed::packed_tensors;
use crate::weights::safetensors;

/// Where a [`Transcoder`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Byte of the original to push first.
    pub source: u64,
    /// Byte of the packed file that is taken first.
    pub output: u64,
}

/// Packs one safetensors file of a part: takes its bytes in order and gives those of the packed file in order. It holds
/// one tensor in its packed form and a few rows of the original.
///
/// The tensors are those of [`pack_part`](super::pack_part). The size of the packed file is known at once.
pub struct Transcoder {
    file: String,
    size: u64,
    recipe: Recipe,
    /// What the original must hash to.
    sha256: Option<String>,
    hash: Option<FileHash>,
    header: Option<Vec<u8>>,
    /// Length field and JSON of the original.
    source_header: Vec<u8>,
    /// Tensor that is being written, or next.
    next: usize,
    writer: Option<Writer>,
    /// Byte of the original that comes next.
    at: u64,
    checkpoint: Option<Vec<u8>>,
}

impl Transcoder {
    /// Of the file `file` of `size` bytes that begins with `header` (length field and JSON) and holds weights of the part
    /// `part`. `sha256`, if given, is what the whole original must hash to, in lower-case hexadecimal. `None` when there
    /// is nothing to pack, such as in a file that is packed already.
    ///
    /// # Errors
    /// [`Error::Safetensors`] for a damaged header; [`Error::Config`] for names that packing would give twice.
    pub fn new(
        file: &str,
        header: &[u8],
        size: u64,
        part: &str,
        policy: &Policy,
        sha256: Option<String>,
    ) -> Result<Option<Self>> {
        let (_, json) = header.split_at_checked(8).unwrap_or_default();
        let parsed = safetensors::parse_header(file, json, size)?;
        if !packed_tensors(file, &parsed)?.is_empty() {
            return Ok(None);
        }
        let mut items: Vec<Item> =
            parsed.tensors.iter().map(|(name, info)| Item::new(policy, part, name, info)).collect();
        items.sort_by_key(|item| (item.info.range.start, item.info.range.end));
        if items.iter().all(|item| item.scale().is_none()) {
            return Ok(None);
        }
        check_names(file, &items)?;
        let mut transcoder = Self {
            file: file.to_owned(),
            size,
            recipe: Recipe::new(items),
            sha256,
            hash: None,
            header: None,
            source_header: header.to_vec(),
            next: 0,
            writer: None,
            at: 0,
            checkpoint: None,
        };
        transcoder.begin(0, None)?;
        Ok(Some(transcoder))
    }

    /// Bytes of the packed file.
    #[must_use]
    pub fn output_size(&self) -> u64 {
        self.recipe.size()
    }

    /// Starts anew, as near before byte `output` of the packed file as it can. With the `checkpoint` of an earlier
    /// transcoder of the same file, the hash of the whole original is still checked; without one, only when all of it is
    /// pushed.
    ///
    /// # Errors
    /// [`Error::Config`] for a checkpoint of another file or of bytes after `output`.
    pub fn begin(&mut self, output: u64, checkpoint: Option<&[u8]>) -> Result<Start> {
        let header = self.recipe.header.len() as u64;
        // In the header no tensor has begun.
        let checkpoint = checkpoint.filter(|_| output >= header);
        (self.writer, self.header, self.checkpoint) = (None, None, None);
        self.next = match checkpoint {
            Some(bytes) => {
                let (next, hash) = self.resumed(bytes, output).ok_or_else(|| self.foreign_checkpoint())?;
                self.hash = Some(hash);
                next
            }
            None => {
                self.hash = (output < header && self.sha256.is_some()).then(FileHash::default);
                if let Some(hash) = &mut self.hash {
                    hash.update(&self.source_header);
                }
                self.recipe.steps.partition_point(|step| step.output.end <= output)
            }
        };
        if output < header {
            self.next = 0;
            self.header = Some(self.recipe.header.clone());
        }
        let first = self.recipe.steps.get(self.next);
        self.at = first.map_or(self.size, |step| step.item.info.range.start);
        let output = match self.header {
            Some(_) => 0,
            None => first.map_or(self.recipe.size(), |step| step.output.start),
        };
        self.open()?;
        Ok(Start { source: self.at, output })
    }

    fn foreign_checkpoint(&self) -> Error {
        let reason = "is not of this file".to_owned();
        Error::Config { file: self.file.clone(), field: "checkpoint".to_owned(), reason }
    }

    fn resumed(&self, checkpoint: &[u8], output: u64) -> Option<(usize, FileHash)> {
        let hash = FileHash::restore(checkpoint)?;
        let next = self.recipe.steps.partition_point(|step| step.item.info.range.start < hash.bytes());
        let step = self.recipe.steps.get(next)?;
        (step.item.info.range.start == hash.bytes() && step.output.start <= output).then_some((next, hash))
    }

    /// Takes the next bytes of the original and tells how many of them: it stops at the end of a tensor, whose new form
    /// must then be taken before more is pushed.
    ///
    /// # Errors
    /// [`Error::Config`] for numbers that are not finite; [`Error::DamagedFile`] at the last byte of an original with
    /// another hash than it must have.
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize> {
        let Some(Step { item, .. }) = self.recipe.steps.get(self.next) else { return Ok(bytes.len()) };
        let wanted = usize::try_from(item.info.range.end - self.at).unwrap_or(usize::MAX);
        let bytes = bytes.get(..wanted).unwrap_or(bytes);
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        if let Some(writer) = &mut self.writer {
            writer.push(bytes)?;
        }
        self.at += bytes.len() as u64;
        self.close()?;
        Ok(bytes.len())
    }

    /// The next bytes of the packed file, at most 1 MiB or what was pushed; `None` when more must be pushed first, or all
    /// has been taken.
    ///
    /// # Errors
    /// Those of [`Self::push`].
    pub fn take(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some(header) = self.header.take() {
            return Ok(Some(header));
        }
        loop {
            let Some(writer) = &mut self.writer else { return Ok(None) };
            if let Some(bytes) = writer.take() {
                return Ok(Some(bytes));
            }
            let range = self.current();
            if self.at < range.end {
                return Ok(None);
            }
            self.next += 1;
            self.open()?;
        }
    }

    /// What [`Self::begin`] needs to go on with the hash of the original from the tensor on that was taken from last;
    /// `None` when the hash is not looked at, or no tensor was begun.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&[u8]> {
        self.checkpoint.as_deref()
    }

    /// Bytes of the current tensor in the original.
    fn current(&self) -> Range<u64> {
        let range = self.recipe.steps.get(self.next).map(|step| step.item.info.range.clone());
        range.unwrap_or(self.size..self.size)
    }

    fn open(&mut self) -> Result<()> {
        self.writer = None;
        let Some(step) = self.recipe.steps.get(self.next) else { return Ok(()) };
        self.writer = Some(Writer::new(&self.file, &step.item));
        self.checkpoint = self.hash.as_ref().map(FileHash::save);
        self.close()
    }

    /// Finishes the current tensor when all its bytes have come.
    fn close(&mut self) -> Result<()> {
        if self.at < self.current().end {
            return Ok(());
        }
        if self.at == self.size
            && let Some(hash) = self.hash.take()
            && self.sha256.as_ref().is_some_and(|expected| hash.hex() != *expected)
        {
            let reason = "its SHA-256 is not what its source says".to_owned();
            return Err(Error::DamagedFile { file: self.file.clone(), reason });
        }
        self.writer.as_mut().map_or(Ok(()), Writer::finish)
    }
}
