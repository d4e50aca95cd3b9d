//! `UNet`: the denoiser alone, with given inputs. The benchmark needs it to run the same call as another runtime; a
//! [`Run`](super::Run) hides the model's inputs and output. It adds nothing that a picture does not compile in anyway.

use std::rc::Rc;

use burn::tensor::{Tensor, TensorData};
use wasm_bindgen::prelude::*;

use super::engine::Engine;
use super::error::{misuse, to_js};
use super::source::JsSource;
use crate::config::{self, UNet2DConditionConfig};
use crate::hardware::Hardware;
use crate::kernel::rehearsal::rehearse;
use crate::kernel::tune::BUDGET;
use crate::model::unet::{RunInputs, UNet2DConditionModel};
use crate::weights::Prefer;

/// A UNet on an engine's device.
#[wasm_bindgen]
pub struct UNet {
    hardware: Rc<Hardware>,
    model: UNet2DConditionModel,
    inputs: Option<RunInputs>,
    tuned: bool,
}

#[wasm_bindgen]
impl UNet {
    /// Loads the folder `unet` of a model.
    ///
    /// # Errors
    /// An `Error` that names the file, tensor or field.
    pub async fn load(engine: &Engine, source: JsSource) -> Result<Self, JsValue> {
        let hardware = engine.hardware();
        let config: UNet2DConditionConfig =
            config::load(&source, "unet/config.json").await.map_err(|error| to_js(&error))?;
        let model = UNet2DConditionModel::load(&source, Prefer::Half, config, hardware.device());
        Ok(Self { model: model.await.map_err(|error| to_js(&error))?, hardware, inputs: None, tuned: false })
    }

    /// Computes what all calls of a run have in common: of `encoder_hidden_states`,
    /// `[1, tokens, cross_attention_dim]`, and of the timestep.
    ///
    /// # Errors
    /// An `Error` with code `misuse` for a length that is no multiple of the width, or one of the device's.
    pub async fn prepare(&mut self, encoder_hidden_states: Vec<f32>, timestep: f64) -> Result<(), JsValue> {
        let width = self.model.config().text_width();
        if encoder_hidden_states.is_empty() || !encoder_hidden_states.len().is_multiple_of(width) {
            return Err(misuse("encoder_hidden_states has no whole number of tokens"));
        }
        let tokens = encoder_hidden_states.len() / width;
        let text = self.upload(encoder_hidden_states, tokens, width);
        self.inputs = Some(self.model.prepare(&text, &[timestep], None, None));
        self.hardware.settle(&text).await.map_err(|error| to_js(&error))
    }

    /// One call, the first after the adapter's best ways to compute its products were measured: `sample` and what resolves are `[1, height * width, channels]`, channels last.
    ///
    /// # Errors
    /// An `Error` with code `misuse` before [`Self::prepare`] or for a length that does not fit, or one of the
    /// device's.
    pub async fn forward(
        &mut self,
        sample: Vec<f32>,
        height: usize,
        width: usize,
    ) -> Result<Vec<f32>, JsValue> {
        let channels = self.model.config().in_channels;
        if height.checked_mul(width).and_then(|pixels| pixels.checked_mul(channels)) != Some(sample.len()) {
            return Err(misuse("sample does not have the size that was given"));
        }
        let inputs = self.inputs.as_ref().ok_or_else(|| misuse("call prepare() first"))?;
        let sample = self.upload(sample, height * width, channels);
        if !self.tuned {
            let rehearsal = rehearse(|| drop(self.model.forward(sample.clone(), height, width, inputs, 0)));
            let tuning = self.hardware.tune(&rehearsal, BUDGET, |_, _| ());
            tuning.await.map_err(|error| to_js(&error))?;
            self.tuned = true;
        }
        let output = self.model.forward(sample, height, width, inputs, 0);
        self.hardware.read(output).await.map_err(|error| to_js(&error))
    }

    fn upload(&self, values: Vec<f32>, rows: usize, columns: usize) -> Tensor<3> {
        Tensor::from_data(TensorData::new(values, [1, rows, columns]), self.hardware.device())
    }
}
