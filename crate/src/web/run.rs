//! `Run`: one picture in the making. JavaScript asks for one step at a time; stopping is not asking.

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::Tensor;
use serde::Serialize;
use wasm_bindgen::prelude::*;

use super::canvas::{Canvas, Size, enlarge};
use super::error::to_js;
use crate::error::Result;
use crate::pipeline::{self, Pipeline};

/// One picture in the making.
#[wasm_bindgen]
pub struct Run {
    run: pipeline::Run,
    pipeline: Rc<Pipeline>,
    canvas: Rc<RefCell<Option<Canvas>>>,
    size: Size,
}

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** One denoising step that was computed and drawn. */
export interface Step {
  /** Number of the step, from 1. */
  index: number;
  total: number;
  timestep: number;
  /** Noise level of what went in; infinite where a model starts from pure noise. */
  sigma: number;
}

/** A finished picture, 8-bit RGBA. */
export interface Picture {
  width: number;
  height: number;
  rgba: Uint8Array;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// See the TypeScript type `Step`.
    #[wasm_bindgen(typescript_type = "Step | undefined")]
    pub type JsStep;
    /// See the TypeScript type `Picture`.
    #[wasm_bindgen(typescript_type = "Picture")]
    pub type JsPicture;
}

#[derive(Serialize)]
struct Step {
    index: usize,
    total: usize,
    timestep: f64,
    sigma: f64,
}

#[wasm_bindgen]
impl Run {
    /// Steps of the run.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn total(&self) -> usize {
        self.run.total()
    }

    /// What of the prompts was left out, one sentence each.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.run.warnings().to_vec()
    }

    /// Computes one step and draws it; `undefined` when none is left.
    ///
    /// # Errors
    /// An `Error` with code `gpu` or `device_lost`.
    pub async fn step(&mut self) -> std::result::Result<JsStep, JsValue> {
        let Some(step) = self.run.step().await.map_err(|error| to_js(&error))? else {
            return Ok(JsValue::UNDEFINED.unchecked_into());
        };
        self.draw_preview().await.map_err(|error| to_js(&error))?;
        let step = Step { index: step.index, total: step.total, timestep: step.timestep, sigma: step.sigma };
        Ok(serde_wasm_bindgen::to_value(&step)?.unchecked_into())
    }

    /// Decodes the latents, draws the picture and returns its pixels.
    ///
    /// # Errors
    /// An `Error` with code `not_finite`, `gpu`, `device_lost` or `out_of_memory`.
    pub async fn finish(&self) -> std::result::Result<JsPicture, JsValue> {
        let picture = self.run.decode().await.map_err(|error| to_js(&error))?;
        self.draw(&picture, self.size).await.map_err(|error| to_js(&error))?;
        let rgb = self.pipeline.hardware().read(picture).await.map_err(|error| to_js(&error))?;
        let rgba = js_sys::Uint8Array::from(enlarge(&rgb, self.size, self.size).as_slice());
        let object = js_sys::Object::new();
        js_sys::Reflect::set(&object, &"width".into(), &(self.size.width as u32).into())?;
        js_sys::Reflect::set(&object, &"height".into(), &(self.size.height as u32).into())?;
        js_sys::Reflect::set(&object, &"rgba".into(), &rgba)?;
        Ok(object.unchecked_into())
    }
}

impl Run {
    pub(super) fn new(
        run: pipeline::Run,
        pipeline: Rc<Pipeline>,
        canvas: Rc<RefCell<Option<Canvas>>>,
        width: usize,
        height: usize,
    ) -> Self {
        Self { run, pipeline, canvas, size: Size { width, height } }
    }

    /// Draws what the latents are now.
    pub(super) async fn draw_preview(&self) -> Result<()> {
        let (height, width) = self.run.latent_size();
        self.draw(&self.run.preview(), Size { width, height }).await
    }

    async fn draw(&self, picture: &Tensor<3>, size: Size) -> Result<()> {
        // Taken out while it draws: a borrow must not live across an await.
        let Some(mut canvas) = self.canvas.take() else { return Ok(()) };
        let drawn = canvas.draw(picture, size, self.size, self.pipeline.hardware()).await;
        self.canvas.replace(Some(canvas));
        drawn
    }
}
