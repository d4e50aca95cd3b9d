//! `Transcoder`: packs a file of weights as its bytes arrive. `FileHash`: the SHA-256 of a file, over interruptions. They
//! need no engine and no GPU.

use wasm_bindgen::prelude::*;

use super::error::to_js;
use crate::quantization::Policy;
use crate::weights::hash;
use crate::weights::pack::transcoder;

/// One file of weights on its way into packed form. Push its bytes in order; after each piece, take until there is
/// nothing.
#[wasm_bindgen]
pub struct Transcoder {
    inner: transcoder::Transcoder,
}

#[wasm_bindgen]
impl Transcoder {
    /// For the file at `path` of a model, `PART/NAME.safetensors`, of `size` bytes that begins with `header` (length field
    /// and JSON). `quant` is `q8`, `q6`, `q4` or `mixed`. `undefined` when there is nothing to pack.
    ///
    /// # Errors
    /// An `Error` with code `bad_safetensors` for a damaged header, `bad_parameter`, or `bad_config`.
    #[wasm_bindgen(js_name = ofPart)]
    pub fn of_part(path: &str, header: &[u8], size: f64, quant: &str) -> Result<Option<Self>, JsValue> {
        let part = path.split('/').next().unwrap_or_default();
        let made = policy(quant)
            .and_then(|policy| transcoder::Transcoder::of_part(path, header, size as u64, part, &policy));
        Ok(made.map_err(|error| to_js(&error))?.map(|inner| Self { inner }))
    }

    /// The same for a single-file checkpoint.
    ///
    /// # Errors
    /// Those of [`Self::of_part`], and an `Error` with code `unsupported_class` for a checkpoint of another kind.
    #[wasm_bindgen(js_name = ofCheckpoint)]
    pub fn of_checkpoint(path: &str, header: &[u8], size: f64, quant: &str) -> Result<Option<Self>, JsValue> {
        let made = policy(quant)
            .and_then(|policy| transcoder::Transcoder::of_checkpoint(path, header, size as u64, &policy));
        Ok(made.map_err(|error| to_js(&error))?.map(|inner| Self { inner }))
    }

    /// Bytes of the packed file.
    #[wasm_bindgen(getter, js_name = outputSize)]
    pub fn output_size(&self) -> f64 {
        self.inner.output_size() as f64
    }

    /// Starts as near before byte `output` of the packed file as it can: `[first byte to push, first byte to be taken]`.
    /// `source` is what [`Self::opened`] was when byte `output` was about to be taken, for a start from there.
    ///
    /// # Errors
    /// An `Error` with code `bad_config` for a `source` that does not belong there.
    pub fn begin(&mut self, output: f64, source: Option<f64>) -> Result<Vec<f64>, JsValue> {
        let start = self.inner.begin(output as u64, source.map(|source| source as u64));
        let start = start.map_err(|error| to_js(&error))?;
        Ok(vec![start.source as f64, start.output as f64])
    }

    /// Takes the next bytes and tells how many of them; then [`Self::take`] until there is nothing.
    ///
    /// # Errors
    /// An `Error` with code `bad_config` for numbers that are not finite.
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize, JsValue> {
        self.inner.push(bytes).map_err(|error| to_js(&error))
    }

    /// The next bytes of the packed file, a MiB at most or as many as were pushed; `undefined` when there are none yet.
    ///
    /// # Errors
    /// Those of [`Self::push`].
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, JsValue> {
        self.inner.take().map_err(|error| to_js(&error))
    }

    /// Byte of the original that what is taken next depends on, and on nothing before it.
    #[wasm_bindgen(getter)]
    pub fn opened(&self) -> f64 {
        self.inner.opened() as f64
    }
}

fn policy(quant: &str) -> crate::error::Result<Policy> {
    quant.parse()
}

/// The SHA-256 of the first bytes of a file.
#[wasm_bindgen]
pub struct FileHash {
    inner: hash::FileHash,
}

#[wasm_bindgen]
impl FileHash {
    /// Of no bytes, or what [`Self::save`] gave; `undefined` for anything else.
    pub fn create(saved: Option<Vec<u8>>) -> Option<Self> {
        let inner =
            saved.map_or_else(|| Some(hash::FileHash::default()), |saved| hash::FileHash::restore(&saved));
        inner.map(|inner| Self { inner })
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
    }

    /// What [`Self::create`] goes on from.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        self.inner.save()
    }

    /// In lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        self.inner.hex()
    }
}
