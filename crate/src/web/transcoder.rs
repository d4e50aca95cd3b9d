//! `Transcoder`: packs a file of weights as its bytes arrive. It needs no engine and no GPU.

use wasm_bindgen::prelude::*;

use super::error::to_js;
use crate::quantization::Policy;
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
    /// and JSON). `quant` is `q8`, `q6`, `q4` or `mixed`; `sha256`, in lower-case hexadecimal, is what the whole file
    /// must hash to. `undefined` when there is nothing to pack.
    ///
    /// # Errors
    /// An `Error` with code `bad_safetensors` for a damaged header, `bad_parameter`, or `bad_config`.
    pub fn create(
        path: &str,
        header: &[u8],
        size: f64,
        quant: &str,
        sha256: Option<String>,
    ) -> Result<Option<Self>, JsValue> {
        let policy: Policy = quant.parse().map_err(|error| to_js(&error))?;
        let part = path.split('/').next().unwrap_or_default();
        let made = transcoder::Transcoder::new(path, header, size as u64, part, &policy, sha256);
        Ok(made.map_err(|error| to_js(&error))?.map(|inner| Self { inner }))
    }

    /// Bytes of the packed file.
    #[wasm_bindgen(getter, js_name = outputSize)]
    pub fn output_size(&self) -> f64 {
        self.inner.output_size() as f64
    }

    /// Starts as near before byte `output` of the packed file as it can: `[first byte to push, first byte to be taken]`.
    /// With the `checkpoint` of an earlier one, the hash of the whole file is still checked.
    ///
    /// # Errors
    /// An `Error` with code `bad_config` for a checkpoint that does not belong there.
    #[expect(clippy::needless_pass_by_value, reason = "the bindings have no optional slices")]
    pub fn begin(&mut self, output: f64, checkpoint: Option<Vec<u8>>) -> Result<Vec<f64>, JsValue> {
        let start = self.inner.begin(output as u64, checkpoint.as_deref()).map_err(|error| to_js(&error))?;
        Ok(vec![start.source as f64, start.output as f64])
    }

    /// Takes the next bytes and tells how many of them; then [`Self::take`] until there is nothing.
    ///
    /// # Errors
    /// An `Error` with code `bad_config` for numbers that are not finite, `damaged_file` for another hash.
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

    /// What [`Self::begin`] needs to go on with the hash from what was taken last.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Vec<u8>> {
        self.inner.checkpoint().map(<[u8]>::to_vec)
    }
}
