//! Writing safetensors files.

use std::collections::BTreeMap;

use serde::Serialize;

use super::safetensors;
use crate::error::{Error, Result};

/// Numbers of a tensor to write.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// Written as `F32`.
    F32(Vec<f32>),
    /// Written as `I64`.
    I64(Vec<i64>),
}

/// A tensor to write.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Name in the file.
    pub name: String,
    /// Shape, outermost dimension first; its product is the count of numbers in `data`.
    pub shape: Vec<usize>,
    /// The numbers, innermost dimension fastest.
    pub data: TensorData,
}

impl TensorData {
    fn is_wide(&self) -> bool {
        matches!(self, Self::I64(_))
    }

    /// Appends the numbers as bytes; gives their dtype and count.
    fn append(&self, bytes: &mut Vec<u8>) -> (&'static str, usize) {
        match self {
            Self::F32(numbers) => {
                bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
                ("F32", numbers.len())
            }
            Self::I64(numbers) => {
                bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
                ("I64", numbers.len())
            }
        }
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: (usize, usize),
}

/// A whole safetensors file that holds `tensors`.
///
/// # Errors
/// [`Error::Safetensors`] with `file` when a name comes twice or a shape does not fit its numbers.
pub fn write(file: &str, tensors: &[NamedTensor]) -> Result<Vec<u8>> {
    let refused = |reason: String| Error::Safetensors { file: file.to_owned(), reason };
    let mut entries = BTreeMap::new();
    let mut data = Vec::new();
    // Widest numbers first: a reader may map the file and needs every tensor aligned.
    let (wide, narrow): (Vec<_>, Vec<_>) = tensors.iter().partition(|tensor| tensor.data.is_wide());
    for tensor in wide.into_iter().chain(narrow) {
        let begin = data.len();
        let (dtype, count) = tensor.data.append(&mut data);
        let entry = Entry { dtype, shape: &tensor.shape, data_offsets: (begin, data.len()) };
        if tensor.shape.iter().product::<usize>() != count {
            let reason = format!("tensor `{}` of shape {:?} has {count} numbers", tensor.name, tensor.shape);
            return Err(refused(reason));
        }
        if entries.insert(&tensor.name, entry).is_some() {
            return Err(refused(format!("tensor `{}` comes twice", tensor.name)));
        }
    }
    let json = serde_json::to_vec(&entries).map_err(|error| refused(error.to_string()))?;
    let mut bytes = safetensors::header(json);
    bytes.append(&mut data);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::safetensors::{Dtype, parse_header};

    fn tensor(name: &str, shape: &[usize], data: TensorData) -> NamedTensor {
        NamedTensor { name: name.to_owned(), shape: shape.to_vec(), data }
    }

    #[test]
    fn what_is_written_parses_and_is_aligned() {
        let latents = tensor("latents.0", &[1, 3], TensorData::F32(vec![1.0, -2.0, 0.5]));
        let ids = tensor("token_ids", &[2], TensorData::I64(vec![-1, 7]));
        let bytes = write("out.safetensors", &[latents, ids]).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = parse_header("out.safetensors", &bytes[8..8 + length], bytes.len() as u64).unwrap();
        let (latents, ids) = (&header.tensors["latents.0"], &header.tensors["token_ids"]);
        assert_eq!((latents.dtype.clone(), latents.shape.as_slice()), (Dtype::F32, [1, 3].as_slice()));
        assert_eq!((ids.dtype.clone(), ids.shape.as_slice()), (Dtype::I64, [2].as_slice()));
        assert_eq!(ids.range.start % 8, 0);
        let last = latents.range.end as usize;
        assert_eq!(bytes[last - 4..last], 0.5f32.to_le_bytes());
    }

    #[test]
    fn refused() {
        let a = tensor("a", &[2], TensorData::F32(vec![1.0]));
        let b = tensor("b", &[1], TensorData::F32(vec![1.0]));
        for tensors in [vec![a], vec![b.clone(), b]] {
            assert!(matches!(write("out", &tensors), Err(Error::Safetensors { .. })));
        }
    }
}
