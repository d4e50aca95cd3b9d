//! A safetensors file that is not there: a header of new names over the bytes of a checkpoint.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::weights::safetensors::{Dtype, TensorInfo};
use crate::weights::source::Source;

/// Most bytes of a matrix that is transposed: that much is held while it is read. The largest in use, the text
/// projection of SDXL, has 3 MiB in half precision.
const MAX_TRANSPOSED_BYTES: u64 = 64 << 20;

/// The tensors begin at a multiple of this.
const ALIGNMENT: usize = 8;

/// A tensor of a part by its new name, and where its numbers are in the checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Renamed {
    name: String,
    dtype: Dtype,
    /// Of the new tensor.
    shape: Vec<usize>,
    /// Bytes of the checkpoint.
    range: Range<u64>,
    transposed: bool,
}

impl Renamed {
    /// The whole tensor.
    pub(super) fn whole(name: impl Into<String>, info: &TensorInfo) -> Self {
        Self {
            name: name.into(),
            dtype: info.dtype.clone(),
            shape: info.shape.clone(),
            range: info.range.clone(),
            transposed: false,
        }
    }

    /// A 1x1 convolution `[o, i, 1, 1]` as the matrix `[o, i]`; any other tensor whole.
    pub(super) fn matrix(name: impl Into<String>, info: &TensorInfo) -> Self {
        let mut tensor = Self::whole(name, info);
        if let [o, i, 1, 1] | [o, i, 1] = *info.shape {
            tensor.shape = vec![o, i];
        }
        tensor
    }

    /// Part `index` of `count` equal parts along the first dimension; `None` when it does not divide so.
    pub(super) fn rows(
        name: impl Into<String>,
        info: &TensorInfo,
        index: usize,
        count: usize,
    ) -> Option<Self> {
        let mut tensor = Self::whole(name, info);
        let first = tensor.shape.first_mut()?;
        let bytes = info.range.end - info.range.start;
        if !first.is_multiple_of(count) || !bytes.is_multiple_of(count as u64) {
            return None;
        }
        *first /= count;
        let part = bytes / count as u64;
        let start = info.range.start + part * index as u64;
        tensor.range = start..start + part;
        Some(tensor)
    }

    /// A matrix `[a, b]` as `[b, a]`; `None` when it is none, or too large to be held.
    pub(super) fn transpose(name: impl Into<String>, info: &TensorInfo) -> Option<Self> {
        let mut tensor = Self::whole(name, info);
        let bytes = info.range.end - info.range.start;
        let [a, b] = *info.shape else { return None };
        if bytes > MAX_TRANSPOSED_BYTES || info.dtype.bytes().is_none() {
            return None;
        }
        tensor.shape = vec![b, a];
        tensor.transposed = true;
        Some(tensor)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The bytes `range` of the new tensor.
    async fn read(&self, source: &dyn Source, file: &str, range: Range<u64>) -> Result<Vec<u8>> {
        if !self.transposed {
            let start = self.range.start;
            return source.read(file, start + range.start..start + range.end).await;
        }
        let matrix = source.read(file, self.range.clone()).await?;
        let number = self.dtype.bytes().unwrap_or(1) as usize;
        let (rows, columns) =
            (self.shape.first().copied().unwrap_or(0), self.shape.last().copied().unwrap_or(0));
        let transposed: Vec<u8> = (0..rows)
            .flat_map(|row| (0..columns).map(move |column| (column * rows + row) * number))
            .flat_map(|at| matrix.get(at..at + number).unwrap_or_default())
            .copied()
            .collect();
        let short =
            || Error::Io { file: file.to_owned(), reason: "fewer bytes came than were asked for".into() };
        transposed.get(range.start as usize..range.end as usize).map(<[u8]>::to_vec).ok_or_else(short)
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'a str,
    shape: &'a [usize],
    data_offsets: (u64, u64),
}

/// The file of a part's weights.
#[derive(Debug)]
pub(super) struct PartFile {
    /// Length field and JSON.
    header: Vec<u8>,
    /// In the order of the checkpoint, so that reading in order stays reading in order.
    tensors: Vec<Renamed>,
    /// Where each of `tensors` begins in this file, and where the last ends.
    starts: Vec<u64>,
}

impl PartFile {
    /// `file` is the checkpoint's, for errors.
    ///
    /// # Errors
    /// [`Error::Safetensors`] when two tensors get one name.
    pub(super) fn new(file: &str, mut tensors: Vec<Renamed>) -> Result<Self> {
        tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
        let mut entries = BTreeMap::new();
        let mut end = 0;
        for tensor in &tensors {
            let start = end;
            end += tensor.bytes();
            let entry =
                Entry { dtype: tensor.dtype.name(), shape: &tensor.shape, data_offsets: (start, end) };
            if entries.insert(&tensor.name, entry).is_some() {
                let reason = format!("two of its tensors stand for `{}`", tensor.name);
                return Err(Error::Safetensors { file: file.to_owned(), reason });
            }
        }
        let failed = |error: serde_json::Error| Error::Safetensors {
            file: file.to_owned(),
            reason: error.to_string(),
        };
        let mut json = serde_json::to_vec(&entries).map_err(failed)?;
        json.resize(json.len().next_multiple_of(ALIGNMENT), b' ');
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.append(&mut json);
        let mut starts = vec![header.len() as u64];
        let mut end = header.len() as u64;
        starts.extend(tensors.iter().map(|tensor| {
            end += tensor.bytes();
            end
        }));
        Ok(Self { header, tensors, starts })
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.starts.last().copied().unwrap_or_default()
    }

    /// The bytes `range`, which must lie in the file; `checkpoint` holds the tensors' numbers as `file`.
    ///
    /// # Errors
    /// Those of the source.
    pub(super) async fn read(
        &self,
        checkpoint: &dyn Source,
        file: &str,
        range: Range<u64>,
    ) -> Result<Vec<u8>> {
        let header_end = self.header.len() as u64;
        let in_header = range.start.min(header_end) as usize..range.end.min(header_end) as usize;
        let mut bytes = self.header.get(in_header).unwrap_or_default().to_vec();
        let first = self.starts.partition_point(|&start| start <= range.start).saturating_sub(1);
        for (tensor, &start) in self.tensors.iter().zip(&self.starts).skip(first) {
            if start >= range.end {
                break;
            }
            let inside = range.start.max(start) - start..range.end.min(start + tensor.bytes()) - start;
            if !inside.is_empty() {
                bytes.extend(tensor.read(checkpoint, file, inside).await?);
            }
        }
        Ok(bytes)
    }
}
