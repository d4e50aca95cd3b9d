//! Packed weights in safetensors files: an entry of the header's metadata says which tensors are packed and how.
//!
//! `docs/quantization.md` describes the format. The entry is hostile like the rest of the header: what it says of a
//! tensor must fit the tensors that are there.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::safetensors::{Dtype, Header, TensorInfo};
use super::{Entry, Weights, pieces};
use crate::error::{Error, Result};
use crate::quantization::{BLOCK, Layout, Packed, Quant, unpack};

/// Key of the metadata entry; its value is a JSON object with a [`Description`] for each packed tensor.
pub const METADATA_KEY: &str = "packed_weights";

/// Ending of the tensor of scales, after the name of the packed tensor.
pub const SCALE: &str = ".scale";

/// What the metadata say of a packed tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Name of the format.
    pub quant: String,
    /// Shape before packing.
    pub shape: Vec<usize>,
    /// Along which dimension of `shape` numbers share a scale: 1, the inputs, for layers; 0 for tables, whose rows
    /// then lie together.
    #[serde(default = "inputs")]
    pub axis: usize,
}

fn inputs() -> usize {
    1
}

impl Description {
    /// Format and size of the blocks; `None` when there are no such.
    #[must_use]
    pub fn layout(&self) -> Option<(Quant, Layout)> {
        let quant = self.quant.parse().ok()?;
        let layout = match (self.axis, self.shape.as_slice()) {
            (0, &[rows, width]) => Layout::of_shape(&[width, rows])?,
            (1, shape) => Layout::of_shape(shape)?,
            _ => return None,
        };
        Some((quant, layout))
    }
}

/// A packed tensor of a file, checked against the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackedInfo {
    pub(super) quant: Quant,
    pub(super) layout: Layout,
    /// Shape before packing.
    pub(super) shape: Vec<usize>,
    /// Whether blocks run along rows of a table.
    pub(super) is_table: bool,
    /// Bytes of the words in the file.
    pub(super) words: Range<u64>,
    /// Bytes of the scales in the file.
    pub(super) scales: Range<u64>,
}

/// The packed tensors of a file.
///
/// # Errors
/// [`Error::Safetensors`] for an entry that does not parse or does not fit the tensors.
pub(super) fn packed_tensors(file: &str, header: &Header) -> Result<BTreeMap<String, PackedInfo>> {
    let damaged = |reason: String| Error::Safetensors { file: file.to_owned(), reason };
    let mut packed = BTreeMap::new();
    for (name, description) in descriptions(file, header)? {
        let info = check(header, &name, description)
            .map_err(|reason| damaged(format!("packed tensor `{name}` {reason}")))?;
        packed.insert(name, info);
    }
    Ok(packed)
}

/// What the metadata say of the packed tensors of a file.
///
/// # Errors
/// [`Error::Safetensors`] for an entry that does not parse.
pub(super) fn descriptions(file: &str, header: &Header) -> Result<BTreeMap<String, Description>> {
    let Some(text) = header.metadata.get(METADATA_KEY) else { return Ok(BTreeMap::new()) };
    serde_json::from_str(text).map_err(|error| {
        let reason = format!("its metadata entry `{METADATA_KEY}` does not parse: {error}");
        Error::Safetensors { file: file.to_owned(), reason }
    })
}

fn check(header: &Header, name: &str, description: Description) -> std::result::Result<PackedInfo, String> {
    let (quant, layout) = description
        .layout()
        .ok_or_else(|| format!("is described as {description:?}, which Easel does not know"))?;
    let find = |name: &str| header.tensors.get(name).ok_or_else(|| format!("has no tensor `{name}`"));
    let (words, scales) = (find(name)?, find(&format!("{name}{SCALE}"))?);
    let [words_shape, scales_shape] = file_shapes(quant, layout);
    fits(words, &Dtype::Other("U32".into()), &words_shape)?;
    fits(scales, &Dtype::F16, &scales_shape)?;
    Ok(PackedInfo {
        quant,
        layout,
        shape: description.shape,
        is_table: description.axis == 0,
        words: words.range.clone(),
        scales: scales.range.clone(),
    })
}

/// Shapes of the words and of the scales in a file.
pub(super) fn file_shapes(quant: Quant, layout: Layout) -> [Vec<usize>; 2] {
    let (blocks, n4) = (layout.blocks(), layout.n4());
    [vec![blocks, quant.block_words(), n4], vec![blocks, 4 * n4]]
}

fn fits(info: &TensorInfo, dtype: &Dtype, shape: &[usize]) -> std::result::Result<(), String> {
    if (&info.dtype, info.shape.as_slice()) == (dtype, shape) {
        return Ok(());
    }
    let (found, expected) = (info.dtype.name(), dtype.name());
    Err(format!("is stored as {found} {:?} where {expected} {shape:?} belongs", info.shape))
}

/// The numbers in the order of the shape before packing.
pub(super) fn numbers(info: &PackedInfo, packed: &Packed) -> Vec<f32> {
    let values = unpack(info.quant, info.layout, packed);
    if info.is_table { transposed(&values, info.layout.n) } else { values }
}

/// `[width, rows]` to `[rows, width]`.
pub(super) fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    let rows = values.len() / width.max(1);
    let mut table = Vec::with_capacity(values.len());
    for row in 0..rows {
        table.extend(values.iter().skip(row).step_by(rows));
    }
    table
}

/// Some blocks of rows of a table, as a table of their own.
fn row_blocks(info: &PackedInfo, blocks: Range<usize>) -> PackedInfo {
    let all = info.layout.blocks() as u64;
    let piece = |range: &Range<u64>| {
        let block = (range.end - range.start) / all;
        range.start + block * blocks.start as u64..range.start + block * blocks.end as u64
    };
    let [rows, width] =
        [(blocks.end * BLOCK).min(info.layout.channels) - blocks.start * BLOCK, info.layout.n];
    PackedInfo {
        quant: info.quant,
        layout: Layout { taps: 1, channels: rows, n: width },
        shape: vec![rows, width],
        is_table: true,
        words: piece(&info.words),
        scales: piece(&info.scales),
    }
}

impl Weights<'_> {
    /// The blocks of a packed layer as the file has them; `None` for a tensor that is not packed as a layer is.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TensorShape`], and those of the source.
    pub async fn read_packed(
        &self,
        name: &str,
        expected_shape: &[usize],
    ) -> Result<Option<(Quant, Layout, Packed)>> {
        let entry = self.checked(name, expected_shape)?;
        match &entry.packed {
            Some(info) if !info.is_table => {
                Ok(Some((info.quant, info.layout, self.read_blocks(entry, info).await?)))
            }
            _ => Ok(None),
        }
    }

    /// Rows of a packed matrix `[count, width]`; of a table, only the blocks that have them are read.
    pub(super) async fn read_packed_rows(
        &self,
        entry: &Entry,
        info: &PackedInfo,
        [count, width]: [usize; 2],
        rows: &[usize],
    ) -> Result<Vec<f32>> {
        let rows_together = if info.is_table { BLOCK } else { count };
        let mut wanted: Vec<usize> = rows.iter().map(|row| row / rows_together).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut blocks = BTreeMap::new();
        for block in wanted {
            let piece = if info.is_table { row_blocks(info, block..block + 1) } else { info.clone() };
            blocks.insert(block, numbers(&piece, &self.read_blocks(entry, &piece).await?));
        }
        let mut values = Vec::with_capacity(rows.len() * width);
        for row in rows {
            let (block, at) = (blocks.get(&(row / rows_together)), row % rows_together);
            let of_row = block.and_then(|block| block.get(at * width..(at + 1) * width));
            values.extend_from_slice(of_row.unwrap_or_default());
        }
        Ok(values)
    }

    pub(super) async fn read_blocks(&self, entry: &Entry, info: &PackedInfo) -> Result<Packed> {
        let mut packed = Packed {
            words: Vec::with_capacity(info.layout.words(info.quant)),
            scales: Vec::with_capacity(info.layout.scales()),
        };
        for piece in pieces(info.words.clone()) {
            let bytes = self.read_exactly(entry, piece).await?;
            packed.words.extend(bytes.as_chunks().0.iter().copied().map(u32::from_le_bytes));
        }
        for piece in pieces(info.scales.clone()) {
            let bytes = self.read_exactly(entry, piece).await?;
            packed.scales.extend(bytes.as_chunks().0.iter().copied().map(u16::from_le_bytes));
        }
        Ok(packed)
    }
}
