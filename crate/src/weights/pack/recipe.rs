//! What a packed file will be, known from headers alone.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use serde_json::json;

use super::{is_table, packing};
use crate::quantization::{Layout, Policy, Quant};
use crate::weights::convert::readable;
use crate::weights::packed::{self, Description, METADATA_KEY, SCALE};
use crate::weights::safetensors::{self, Dtype, TensorInfo};

/// What becomes of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Its bytes stay.
    Same,
    /// 16-bit numbers become F32: an odd count of them would leave all that follows at odd places, where readers that
    /// map files cannot take it.
    Single,
    /// Words, then scales.
    Packed { quant: Quant, layout: Layout, is_table: bool },
}

/// A tensor to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) name: String,
    /// In the source.
    pub(super) info: TensorInfo,
    pub(super) form: Form,
    /// Whether the source has the transpose of the matrix.
    pub(super) is_transposed: bool,
}

impl Item {
    /// A tensor of a part as a policy wants it.
    pub(super) fn new(policy: &Policy, part: &str, name: &str, info: &TensorInfo) -> Self {
        let packing = packing(policy, part, name, &info.shape).filter(|_| readable(&info.dtype));
        let odd = !(info.range.end - info.range.start).is_multiple_of(4);
        let form = match packing {
            Some((quant, layout)) => Form::Packed { quant, layout, is_table: is_table(name) },
            None if odd && matches!(info.dtype, Dtype::F16 | Dtype::Bf16) => Form::Single,
            None => Form::Same,
        };
        Self { name: name.to_owned(), info: info.clone(), form, is_transposed: false }
    }

    /// In the packed file.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = self.info.range.end - self.info.range.start;
        match self.form {
            Form::Same => bytes,
            Form::Single => 2 * bytes,
            Form::Packed { quant, layout, .. } => layout.bytes(quant) as u64,
        }
    }

    /// Name of its scales.
    pub(super) fn scale(&self) -> Option<String> {
        matches!(self.form, Form::Packed { .. }).then(|| format!("{}{SCALE}", self.name))
    }
}

/// A tensor and where it will be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) item: Item,
    /// Bytes of the packed file.
    pub(super) output: Range<u64>,
}

/// A packed file in the order of its bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recipe {
    /// Length field and JSON.
    pub(super) header: Vec<u8>,
    pub(super) steps: Vec<Step>,
}

#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'a str,
    shape: &'a [usize],
    data_offsets: (u64, u64),
}

impl Recipe {
    /// Of these tensors, in this order. No name may come twice, those of scales included. `entry` is one for the metadata,
    /// key and value.
    pub(super) fn new(items: Vec<Item>, entry: Option<(&str, String)>) -> Self {
        let header = header(&items, entry);
        let mut end = header.len() as u64;
        let mut step = |item: Item| {
            let start = end;
            end += item.bytes();
            Step { output: start..end, item }
        };
        Self { steps: items.into_iter().map(&mut step).collect(), header }
    }

    /// Of the packed file, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.steps.last().map_or(self.header.len() as u64, |step| step.output.end)
    }
}

fn header(items: &[Item], entry: Option<(&str, String)>) -> Vec<u8> {
    let mut entries = serde_json::Map::new();
    let mut described = BTreeMap::new();
    let mut at = 0;
    let mut place = |bytes: u64| {
        at += bytes;
        (at - bytes, at)
    };
    for item in items {
        let mut put = |name: String, dtype: &str, shape: &[usize], bytes: u64| {
            entries.insert(name, json!(Entry { dtype, shape, data_offsets: place(bytes) }));
        };
        let (name, shape) = (item.name.clone(), &item.info.shape);
        match item.form {
            Form::Same => put(name, item.info.dtype.name(), shape, item.bytes()),
            Form::Single => put(name, Dtype::F32.name(), shape, item.bytes()),
            Form::Packed { quant, layout, is_table } => {
                let [words, scales] = packed::file_shapes(quant, layout);
                put(name.clone(), "U32", &words, 4 * layout.words(quant) as u64);
                put(format!("{name}{SCALE}"), Dtype::F16.name(), &scales, 2 * layout.scales() as u64);
                let axis = usize::from(!is_table);
                described
                    .insert(name, Description { quant: quant.name().into(), shape: shape.clone(), axis });
            }
        }
    }
    let mut metadata = json!({ "format": "pt" });
    if let Some((key, value)) = entry {
        metadata[key] = json!(value);
    }
    if !described.is_empty() {
        metadata[METADATA_KEY] = json!(json!(described).to_string());
    }
    entries.insert("__metadata__".to_owned(), metadata);
    safetensors::header(serde_json::Value::Object(entries).to_string().into_bytes())
}
