//! The weights of one part of a model (`unet`, `vae`, `text_encoder`), read tensor by tensor.

pub mod aliases;
pub mod convert;
pub mod dump;
pub mod files;
pub mod hash;
pub mod lora;
pub mod manifest;
pub mod pack;
pub mod packed;
pub mod safetensors;
pub mod single_file;
pub mod source;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::quantization::Quant;
use files::Found;
pub use files::Prefer;
use packed::PackedInfo;
use safetensors::TensorInfo;
use source::Source;

/// Most bytes that are read at once, so that a large tensor never stands twice in memory.
const PIECE_BYTES: u64 = 8 << 20;

/// Most bytes that a slice of a tensor has as f32.
pub const SLICE_BYTES: usize = 8 << 20;

/// Wanted rows this near to each other are read together: a request costs more than these bytes.
const ROW_GAP_BYTES: u64 = 64 << 10;

struct Entry {
    file: usize,
    info: TensorInfo,
    packed: Option<PackedInfo>,
}

impl Entry {
    /// Shape before packing.
    fn shape(&self) -> &[usize] {
        self.packed.as_ref().map_or(&self.info.shape, |packed| &packed.shape)
    }
}

/// The tensors of a file, by name.
async fn read_entries(source: &dyn Source, path: &str, file: usize) -> Result<BTreeMap<String, Entry>> {
    let header = safetensors::read_header(source, path).await?;
    let mut packed = packed::packed_tensors(path, &header)?;
    let entry = |(name, info)| {
        let packed = packed.remove(&name);
        (name, Entry { file, info, packed })
    };
    Ok(header.tensors.into_iter().map(entry).collect())
}

/// The tensors of one part of a model. Only headers are held; numbers are read when asked for.
pub struct Weights<'s> {
    source: &'s dyn Source,
    place: String,
    files: Vec<String>,
    entries: BTreeMap<String, Entry>,
}

impl<'s> Weights<'s> {
    /// Finds the safetensors files in `folder` (`unet`, `vae`, …) and reads their headers.
    ///
    /// One file or several with an index, full or `.fp16.` variant, under the file names of diffusers or
    /// transformers; `prefer` decides where both variants exist.
    ///
    /// # Errors
    /// [`Error::FileNotFound`]; [`Error::UnsupportedClass`] when only pickles are there;
    /// [`Error::Safetensors`] or [`Error::Config`] for damaged headers or index;
    /// [`Error::MissingTensor`] when the index names a tensor that its file lacks.
    pub async fn open(source: &'s dyn Source, folder: &str, prefer: Prefer) -> Result<Self> {
        match files::find(source, folder, prefer).await? {
            Found::Single(file) => Self::open_file(source, &file).await,
            Found::Sharded { index, weight_map } => {
                Self::open_shards(source, folder, index, weight_map).await
            }
        }
    }

    /// Reads the header of the one safetensors file `path`.
    ///
    /// # Errors
    /// [`Error::FileNotFound`] or [`Error::Safetensors`].
    pub async fn open_file(source: &'s dyn Source, path: &str) -> Result<Self> {
        let entries = read_entries(source, path, 0).await?;
        Ok(Self { source, place: path.to_owned(), files: vec![path.to_owned()], entries })
    }

    async fn open_shards(
        source: &'s dyn Source,
        folder: &str,
        index: String,
        weight_map: BTreeMap<String, String>,
    ) -> Result<Self> {
        let mut shards: BTreeMap<String, BTreeMap<String, Entry>> = BTreeMap::new();
        let mut entries = BTreeMap::new();
        let mut files = Vec::new();
        for (name, shard) in weight_map {
            let path = format!("{folder}/{shard}");
            if !shards.contains_key(&path) {
                shards.insert(path.clone(), read_entries(source, &path, files.len()).await?);
                files.push(path.clone());
            }
            let found = shards.get_mut(&path).and_then(|entries| entries.remove(&name));
            let entry = found.ok_or_else(|| Error::MissingTensor { file: path, tensor: name.clone() })?;
            entries.insert(name, entry);
        }
        Ok(Self { source, place: index, files, entries })
    }

    /// Whether a tensor of this name, or of one of its [`aliases`], is there.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Shape of a tensor as the file has it; of a packed one, before it was packed.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.find(name).map(Entry::shape)
    }

    /// Tensors that are packed, in alphabetical order, with their formats.
    pub fn packed(&self) -> impl Iterator<Item = (&str, Quant)> {
        let quant = |entry: &Entry| entry.packed.as_ref().map(|packed| packed.quant);
        self.entries.iter().filter_map(move |(name, entry)| Some((name.as_str(), quant(entry)?)))
    }

    /// Names as the files have them, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Header data by the names of the files, in alphabetical order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), &entry.info))
    }

    /// The files read, relative to the model's root.
    #[must_use]
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Bytes that the tensors have in the files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.info.range.end - entry.info.range.start).sum()
    }

    /// All numbers of a tensor as f32, in the order of the file; those of a packed one unpacked.
    ///
    /// The shape must be `expected_shape` up to dimensions of 1 at the end ([`aliases::same_layout`]).
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TensorShape`], [`Error::UnsupportedDtype`], and those of the source.
    pub async fn read_f32(&self, name: &str, expected_shape: &[usize]) -> Result<Vec<f32>> {
        let entry = self.checked(name, expected_shape)?;
        if let Some(info) = &entry.packed {
            return Ok(packed::numbers(info, &self.read_blocks(entry, info).await?));
        }
        let mut numbers = Vec::with_capacity(entry.info.shape.iter().product());
        for piece in pieces(entry.info.range.clone()) {
            self.append(entry, piece, &mut numbers).await?;
        }
        Ok(numbers)
    }

    /// The number of a tensor that has one, in any format of [`convert::scalar`].
    ///
    /// # Errors
    /// Those of [`Self::read_f32`].
    pub async fn read_scalar(&self, name: &str) -> Result<f32> {
        let entry = self.shaped(name, &[1])?;
        let bytes = entry.info.range.end - entry.info.range.start;
        if entry.info.dtype.bytes() != Some(bytes) {
            return Err(self.unreadable(name, entry));
        }
        let number = self.read_exactly(entry, entry.info.range.clone()).await?;
        convert::scalar(&entry.info.dtype, &number).ok_or_else(|| self.unreadable(name, entry))
    }

    /// The numbers of [`Self::read_f32`] in slices along the first dimension, each of a multiple of `step` entries and of
    /// at most [`SLICE_BYTES`], but for single steps beyond that. A packed tensor is one slice.
    ///
    /// # Errors
    /// Those of [`Self::read_f32`].
    pub async fn read_f32_slices(
        &self,
        name: &str,
        expected_shape: &[usize],
        step: usize,
        mut take: impl FnMut(&[f32]),
    ) -> Result<()> {
        let entry = self.checked(name, expected_shape)?;
        let count = expected_shape.first().copied().unwrap_or_default();
        if count == 0 || entry.packed.is_some() {
            take(&self.read_f32(name, expected_shape).await?);
            return Ok(());
        }
        let all = entry.info.range.clone();
        let stored = (all.end - all.start) / count as u64;
        let numbers_each = expected_shape.iter().skip(1).product::<usize>();
        let most = SLICE_BYTES / (numbers_each * size_of::<f32>()).max(1);
        let most = (most / step * step).max(step);
        for first in (0..count).step_by(most) {
            let last = (first + most).min(count);
            let mut numbers = Vec::with_capacity((last - first) * numbers_each);
            for piece in pieces(all.start + first as u64 * stored..all.start + last as u64 * stored) {
                self.append(entry, piece, &mut numbers).await?;
            }
            take(&numbers);
        }
        Ok(())
    }

    /// The bytes of a tensor as they are in the file, piece by piece.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], those of the source and of `take`.
    pub async fn read_raw(&self, name: &str, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let missing = || Error::MissingTensor { file: self.place.clone(), tensor: name.to_owned() };
        let entry = self.entries.get(name).ok_or_else(missing)?;
        for piece in pieces(entry.info.range.clone()) {
            take(&self.read_exactly(entry, piece).await?)?;
        }
        Ok(())
    }

    /// The given rows of a matrix `[count, width]` as f32, one after the other in the order asked for; a row may
    /// be asked for twice.
    ///
    /// # Errors
    /// Those of [`Self::read_f32`], and [`Error::Config`] for a row that the matrix does not have.
    pub async fn read_rows_f32(
        &self,
        name: &str,
        expected_shape: [usize; 2],
        rows: &[usize],
    ) -> Result<Vec<f32>> {
        let entry = self.checked(name, &expected_shape)?;
        let [count, width] = expected_shape;
        if let Some(row) = rows.iter().find(|&&row| row >= count) {
            let reason = format!("has {count} rows, but row {row} is asked for");
            return Err(Error::Config { file: self.file(entry), field: name.to_owned(), reason });
        }
        let mut wanted = rows.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        if let Some(info) = &entry.packed {
            return self.read_packed_rows(entry, info, expected_shape, rows).await;
        }
        let row_bytes = (entry.info.range.end - entry.info.range.start) / count.max(1) as u64;
        let mut read = BTreeMap::new();
        for run in runs(&wanted, row_bytes) {
            let start = entry.info.range.start + run.start as u64 * row_bytes;
            let end = entry.info.range.start + run.end as u64 * row_bytes;
            let mut numbers = Vec::new();
            self.append(entry, start..end, &mut numbers).await?;
            read.insert(run.start, numbers);
        }
        let mut numbers = Vec::with_capacity(rows.len() * width);
        for &row in rows {
            let run = read.range(..=row).next_back();
            let of_row =
                run.and_then(|(first, run)| run.get((row - first) * width..(row - first + 1) * width));
            numbers.extend_from_slice(of_row.unwrap_or_default());
        }
        Ok(numbers)
    }

    /// Refuses weights in formats that cannot be read, as far as headers tell.
    ///
    /// # Errors
    /// [`Error::UnsupportedDtype`] for the first of them.
    pub fn check_formats(&self) -> Result<()> {
        let unreadable = |(name, entry): &(&String, &Entry)| {
            entry.packed.is_none() && convert::is_unreadable_weight(name, &entry.info.dtype)
        };
        self.entries.iter().find(unreadable).map_or(Ok(()), |(name, entry)| Err(self.unreadable(name, entry)))
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        let other = || aliases::alternatives(name).into_iter().find_map(|name| self.entries.get(&name));
        self.entries.get(name).or_else(other)
    }

    /// The file that has the tensor of this name.
    fn place(&self, name: &str) -> &str {
        let file = self.entries.get(name).and_then(|entry| self.files.get(entry.file));
        file.unwrap_or(&self.place)
    }

    fn file(&self, entry: &Entry) -> String {
        self.files.get(entry.file).unwrap_or(&self.place).clone()
    }

    /// The tensor of this name and shape, in a format that is read.
    fn checked(&self, name: &str, expected_shape: &[usize]) -> Result<&Entry> {
        let entry = self.shaped(name, expected_shape)?;
        // A format of unknown width leaves the shape unchecked against the bytes: nothing may be allocated by it.
        if entry.packed.is_none() && !convert::readable(&entry.info.dtype) {
            return Err(self.unreadable(name, entry));
        }
        Ok(entry)
    }

    fn unreadable(&self, name: &str, entry: &Entry) -> Error {
        let dtype = entry.info.dtype.name().to_owned();
        Error::UnsupportedDtype { file: self.file(entry), tensor: name.to_owned(), dtype }
    }

    /// The tensor of this name and shape.
    fn shaped(&self, name: &str, expected_shape: &[usize]) -> Result<&Entry> {
        let missing = || Error::MissingTensor { file: self.place.clone(), tensor: name.to_owned() };
        let entry = self.find(name).ok_or_else(missing)?;
        if !aliases::same_layout(expected_shape, entry.shape()) {
            return Err(Error::TensorShape {
                file: self.file(entry),
                tensor: name.to_owned(),
                expected: expected_shape.to_vec(),
                found: entry.shape().to_vec(),
            });
        }
        Ok(entry)
    }

    async fn append(&self, entry: &Entry, range: Range<u64>, numbers: &mut Vec<f32>) -> Result<()> {
        convert::append_f32(&entry.info.dtype, &self.read_exactly(entry, range).await?, numbers);
        Ok(())
    }

    async fn read_exactly(&self, entry: &Entry, range: Range<u64>) -> Result<Vec<u8>> {
        let file = self.file(entry);
        let length = range.end - range.start;
        let bytes = self.source.read(&file, range).await?;
        if bytes.len() as u64 != length {
            let reason = format!("{} bytes came where {length} were asked for", bytes.len());
            return Err(Error::Io { file, reason });
        }
        Ok(bytes)
    }
}

/// The range in pieces of at most [`PIECE_BYTES`].
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let Range { start, end } = range;
    let at = move |piece: u64| (start + piece * PIECE_BYTES).min(end);
    (0..(end - start).div_ceil(PIECE_BYTES)).map(move |piece| at(piece)..at(piece + 1))
}

/// Ranges that cover the sorted rows `wanted`, joining neighbours and keeping each below one piece.
fn runs(wanted: &[usize], row_bytes: u64) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for &row in wanted {
        match runs.last_mut() {
            Some(run)
                if (row - run.end) as u64 * row_bytes <= ROW_GAP_BYTES
                    && (row + 1 - run.start) as u64 * row_bytes <= PIECE_BYTES =>
            {
                run.end = row + 1;
            }
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

/// Runs a future of a source that never waits; the tests have no executor.
#[cfg(test)]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

#[cfg(test)]
#[path = "packed_tests.rs"]
mod packed_tests;
