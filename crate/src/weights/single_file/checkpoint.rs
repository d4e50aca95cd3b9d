//! The tensors of a checkpoint below a prefix.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::weights::safetensors::{Header, TensorInfo};

/// A checkpoint's header, with the name of its file for errors.
pub(super) struct Checkpoint<'a> {
    pub(super) file: &'a str,
    pub(super) header: &'a Header,
}

impl<'a> Checkpoint<'a> {
    /// Tensors whose names begin with `prefix`, by what follows.
    pub(super) fn below(&self, prefix: &str) -> BTreeMap<&'a str, &'a TensorInfo> {
        let tensors = self.header.tensors.range(prefix.to_owned()..);
        tensors.map_while(|(name, info)| Some((name.strip_prefix(prefix)?, info))).collect()
    }

    pub(super) fn has(&self, tensor: &str) -> bool {
        self.header.tensors.contains_key(tensor)
    }

    /// The refusal of something that the checkpoint has, or is.
    pub(super) fn unsupported(&self, what: impl Into<String>, supported: impl Into<String>) -> Error {
        Error::UnsupportedClass {
            file: self.file.to_owned(),
            class: what.into(),
            supported: supported.into(),
        }
    }

    /// Size `dimension` of a tensor.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] when there is none, or it has fewer dimensions.
    pub(super) fn dimension(&self, tensor: &str, dimension: usize) -> Result<usize> {
        let info = self.header.tensors.get(tensor);
        let size = info.and_then(|info| info.shape.get(dimension)).copied();
        size.ok_or_else(|| Error::MissingTensor { file: self.file.to_owned(), tensor: tensor.to_owned() })
    }
}

/// Splits `3.rest` into 3 and `rest`; `None` unless it begins with a number without a sign or leading zeros.
pub(super) fn numbered(name: &str) -> Option<(usize, &str)> {
    let (number, rest) = name.split_once('.')?;
    let parsed: usize = number.parse().ok()?;
    (parsed.to_string() == number).then_some((parsed, rest))
}

/// Numbers 0, 1, 2, … to the count that `numbers` reach; `None` when one is left out.
pub(super) fn count<T>(numbers: &BTreeMap<usize, T>) -> Option<usize> {
    numbers.keys().copied().eq(0..numbers.len()).then_some(numbers.len())
}
