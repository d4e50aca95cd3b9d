//! LoRAs of the loaded model.

use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::engine::Engine;
use super::error::to_js;
use super::source::JsSource;
use crate::pipeline::LoraReport;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What became of a LoRA file's layers. */
export interface LoraReport {
  /** Layers of the model that it changes. */
  layers: number;
  /** Largest rank. */
  rank: number;
  /** What of it is left out, one sentence each. */
  warnings: string[];
}
"#;

#[wasm_bindgen]
extern "C" {
    /// See the TypeScript type of the same name.
    #[wasm_bindgen(typescript_type = "LoraReport")]
    pub type JsLoraReport;
}

#[derive(Serialize)]
struct Report {
    layers: usize,
    rank: usize,
    warnings: Vec<String>,
}

#[wasm_bindgen]
impl Engine {
    /// Lets prompts ask for the LoRA in the file `path` of `source` by `<lora:name:strength>`. Only its header is read now.
    ///
    /// # Errors
    /// An `Error` with code `bad_lora` when it does not fit the model, or one that names what is wrong with the file.
    #[wasm_bindgen(js_name = addLora)]
    pub async fn add_lora(&self, name: &str, source: JsSource, path: &str) -> Result<JsLoraReport, JsValue> {
        let added = self.loaded()?.add_lora(name, Box::new(source), path).await;
        let LoraReport { layers, rank, warnings } = added.map_err(|error| to_js(&error))?;
        Ok(serde_wasm_bindgen::to_value(&Report { layers, rank, warnings })?.unchecked_into())
    }

    /// Forgets a LoRA and frees its memory.
    ///
    /// # Errors
    /// An `Error` with code `misuse` when no model is loaded.
    #[wasm_bindgen(js_name = removeLora)]
    pub fn remove_lora(&self, name: &str) -> Result<(), JsValue> {
        self.loaded()?.remove_lora(name);
        Ok(())
    }
}
