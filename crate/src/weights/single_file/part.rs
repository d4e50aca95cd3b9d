//! A safetensors file that is not there: a header of new names over the bytes of a checkpoint.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::weights::safetensors::{self, Dtype, TensorInfo};
use crate::weights::source::Source;

/// Most bytes of a matrix that is transposed: that much is held while it is read. The largest in use, the text
/// projection of SDXL, has 3 MiB in half precision.
const MAX_TRANSPOSED_BYTES: u64 = 64 << 20;

/// A tensor of a part by its new name, and where its numbers are in the checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::weights) struct Renamed {
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

    pub(in crate::weights) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Format and new shape, with the place in the checkpoint.
    pub(in crate::weights) fn info(&self) -> TensorInfo {
        TensorInfo { dtype: self.dtype.clone(), shape: self.shape.clone(), range: self.range.clone() }
    }

    /// Whether its numbers stand in the checkpoint as [`turned`] gives them back.
    pub(in crate::weights) fn is_transposed(&self) -> bool {
        self.transposed
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
        let transposed = turned(&matrix, &self.shape, &self.dtype);
        let short =
            || Error::Io { file: file.to_owned(), reason: "fewer bytes came than were asked for".into() };
        transposed.get(range.start as usize..range.end as usize).map(<[u8]>::to_vec).ok_or_else(short)
    }
}

/// The bytes of a matrix of shape `shape`, of those of its transpose.
pub(in crate::weights) fn turned(transpose: &[u8], shape: &[usize], dtype: &Dtype) -> Vec<u8> {
    let number = dtype.bytes().unwrap_or(1) as usize;
    let (rows, columns) = (shape.first().copied().unwrap_or(0), shape.last().copied().unwrap_or(0));
    (0..rows)
        .flat_map(|row| (0..columns).map(move |column| (column * rows + row) * number))
        .flat_map(|at| transpose.get(at..at + number).unwrap_or_default())
        .copied()
        .collect()
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
    /// `file` is the checkpoint's, for errors; `metadata` is what the header says beside the tensors.
    ///
    /// # Errors
    /// [`Error::Safetensors`] when two tensors get one name.
    pub(super) fn new(file: &str, mut tensors: Vec<Renamed>, metadata: Option<Value>) -> Result<Self> {
        tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
        let mut entries = BTreeMap::new();
        let mut end = 0;
        for tensor in &tensors {
            let start = end;
            end += tensor.bytes();
            let entry =
                Entry { dtype: tensor.dtype.name(), shape: &tensor.shape, data_offsets: (start, end) };
            if entries.insert(tensor.name.as_str(), json!(entry)).is_some() {
                let reason = format!("two of its tensors stand for `{}`", tensor.name);
                return Err(Error::Safetensors { file: file.to_owned(), reason });
            }
        }
        entries.extend(metadata.map(|metadata| ("__metadata__", metadata)));
        let header = safetensors::header(json!(entries).to_string().into_bytes());
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

    /// In the order of the checkpoint.
    pub(super) fn tensors(&self) -> &[Renamed] {
        &self.tensors
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::block_on;
    use crate::weights::safetensors::parse_header;
    use crate::weights::source::MemorySource;

    fn info(shape: &[usize], range: Range<u64>) -> TensorInfo {
        TensorInfo { dtype: Dtype::F16, shape: shape.to_vec(), range }
    }

    /// Every range of a file of all kinds of tensors is the same piece of the whole.
    #[test]
    fn any_range_is_a_piece_of_the_whole() {
        let bytes: Vec<u8> = (0..60).collect();
        let mut source = MemorySource::default();
        source.insert("c", bytes.clone());
        let projections = info(&[6, 2], 8..32);
        let tensors = vec![
            Renamed::transpose("turned", &info(&[2, 3], 40..52)).unwrap(),
            Renamed::rows("v", &projections, 2, 3).unwrap(),
            Renamed::rows("q", &projections, 0, 3).unwrap(),
            Renamed::whole("empty", &info(&[0], 32..32)),
            Renamed::matrix("matrix", &info(&[2, 1, 1, 1], 52..56)),
        ];
        let part = PartFile::new("c", tensors, None).unwrap();
        let read = |range| block_on(part.read(&source, "c", range)).unwrap();
        let whole = read(0..part.size());
        assert_eq!(whole.len() as u64, part.size());
        for start in 0..part.size() {
            for end in start..=part.size() {
                assert_eq!(read(start..end), whole[start as usize..end as usize], "{start}..{end}");
            }
        }
        let header = parse_header("c", &whole[8..part.header.len()], part.size()).unwrap().tensors;
        let tensor = |name: &str| {
            let range = header[name].range.clone();
            (header[name].shape.as_slice(), &whole[range.start as usize..range.end as usize])
        };
        assert_eq!(tensor("q"), ([2, 2].as_slice(), &bytes[8..16]));
        assert_eq!(tensor("v"), ([2, 2].as_slice(), &bytes[24..32]));
        assert_eq!(
            tensor("turned"),
            ([3, 2].as_slice(), [40, 41, 46, 47, 42, 43, 48, 49, 44, 45, 50, 51].as_slice())
        );
        assert_eq!(tensor("matrix"), ([2, 1].as_slice(), &bytes[52..56]));
    }

    #[test]
    fn what_cannot_be_cut_or_turned() {
        assert_eq!(Renamed::rows("a", &info(&[4, 2], 0..16), 0, 3), None);
        assert_eq!(Renamed::rows("a", &info(&[], 0..2), 0, 3), None);
        assert_eq!(Renamed::transpose("a", &info(&[4], 0..8)), None);
        assert_eq!(Renamed::transpose("a", &info(&[1 << 13, 1 << 13], 0..1 << 27)), None);
        let twice = vec![Renamed::whole("a", &info(&[1], 0..2)), Renamed::whole("a", &info(&[1], 2..4))];
        assert_eq!(PartFile::new("c", twice, None).unwrap_err().code(), "bad_safetensors");
    }
}
