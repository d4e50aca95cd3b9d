//! A model's files, read through an object of JavaScript.

use std::ops::Range;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;

use super::error::from_js;
use crate::error::{Error, Result};
use crate::weights::single_file::{Companions, SingleFileSource};
use crate::weights::source::{LocalBoxFuture, MAX_VOCABULARY_BYTES, Source, check_path, read_to_string};

/// Where the merges of CLIP's tokenizer are beside a checkpoint, which does not carry them.
const MERGES: &str = "merges.txt";

#[wasm_bindgen]
extern "C" {
    /// `{ size(path), read(path, start, end) }`, both returning promises.
    #[wasm_bindgen(typescript_type = "Source")]
    pub type JsSource;

    #[wasm_bindgen(method, catch)]
    async fn size(this: &JsSource, path: &str) -> std::result::Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch)]
    async fn read(this: &JsSource, path: &str, start: f64, end: f64)
    -> std::result::Result<JsValue, JsValue>;
}

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** The files of a model. Paths are relative to its root, with `/`. */
export interface Source {
  /** Size of a file in bytes; `undefined` when there is no such file. */
  size(path: string): Promise<number | undefined>;
  /** The bytes from `start` to before `end`, whole or in pieces that follow each other. They are copied at once. */
  read(path: string, start: number, end: number): Promise<Uint8Array | Uint8Array[]>;
}
"#;

impl Source for JsSource {
    fn size<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async move {
            check_path(path)?;
            let size = self.size(path).await.map_err(|thrown| from_js(path, &thrown))?;
            Ok(size.as_f64().map(|size| size as u64))
        })
    }

    fn read<'a>(&'a self, path: &'a str, range: Range<u64>) -> LocalBoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            check_path(path)?;
            let bytes = self.read(path, range.start as f64, range.end as f64).await;
            let bytes = bytes.map_err(|thrown| from_js(path, &thrown))?;
            joined(bytes).ok_or_else(|| {
                let reason = "its source gave something else than bytes".to_owned();
                Error::Io { file: path.to_owned(), reason }
            })
        })
    }
}

/// The bytes of a `Uint8Array` or of an array of them, each copied once; `None` for anything else.
fn joined(read: JsValue) -> Option<Vec<u8>> {
    let pieces = match read.dyn_into::<Uint8Array>() {
        Ok(whole) => return Some(whole.to_vec()),
        Err(other) => other.dyn_into::<Array>().ok()?,
    };
    let pieces: Option<Vec<Uint8Array>> = pieces.iter().map(|piece| piece.dyn_into().ok()).collect();
    let pieces = pieces?;
    if let [whole] = pieces.as_slice() {
        return Some(whole.to_vec());
    }
    let mut bytes = vec![0; pieces.iter().map(|piece| piece.length() as usize).sum()];
    let mut rest = bytes.as_mut_slice();
    for piece in pieces {
        let (here, after) = rest.split_at_mut(piece.length() as usize);
        piece.copy_to(here);
        rest = after;
    }
    Some(bytes)
}

/// The files of a model in diffusers layout: those of `source`, or those that its checkpoint is shown as.
///
/// # Errors
/// Those of [`SingleFileSource::open`].
pub(super) async fn model_source(source: JsSource, checkpoint: Option<String>) -> Result<Box<dyn Source>> {
    let Some(file) = checkpoint else { return Ok(Box::new(source)) };
    let merges = read_to_string(&source, MERGES, MAX_VOCABULARY_BYTES).await?.unwrap_or_default();
    let companions = Companions { merges, ..Companions::default() };
    Ok(Box::new(SingleFileSource::open(Box::new(source), file, companions).await?))
}
