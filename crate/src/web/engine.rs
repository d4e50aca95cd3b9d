//! `Engine`: a device, a canvas, and at most one model.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use web_sys::OffscreenCanvas;

use super::canvas::Canvas;
use super::error::{misuse, to_js};
use super::log_faults;
use super::run::Run;
use super::source::{JsSource, model_source};
use crate::error::Error;
use crate::hardware::{Choice, Hardware};
use crate::pipeline::{Description, Given, InitImage, Loading, Pipeline, Preparation, Request};
use crate::sampler::SamplerKind;
use crate::weights::Prefer;
use crate::{pipeline, prompt};

/// The engine: one in a worker, for one device.
#[wasm_bindgen]
pub struct Engine {
    hardware: Rc<Hardware>,
    f16: bool,
    canvas: Rc<RefCell<Option<Canvas>>>,
    pipeline: Option<Rc<Pipeline>>,
}

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** One picture to make. */
export interface Request {
  prompt: string;
  negative_prompt: string;
  steps: number;
  guidance_scale: number;
  /** A name of `ModelInfo.samplers`; empty for the model's own. */
  sampler: string;
  /** A whole number from 0 to 2^53. */
  seed: number;
  width: number;
  height: number;
  /**
   * A picture to start from: 8-bit RGBA, `width * height * 4` bytes, row by row from the top. What is transparent shows
   * white.
   */
  image?: Uint8Array;
  /**
   * What of `image` to draw anew, `width * height` bytes: 255 is drawn, 0 is kept. The model sees 128 and above as 255;
   * the finished picture mixes what was drawn and what was there by the bytes, so that a mask may have soft edges.
   */
  mask_image?: Uint8Array;
  /**
   * How much of `image` is given up, 0 to 1; 0.8 by default, and 1 with a mask. The share `strength` of `steps` is made,
   * rounded down; none at all is refused with code `bad_parameter`. Latent consistency models make all steps instead, over
   * the share of their timesteps with the least noise.
   */
  strength?: number;
}

/** What a loaded model is and what to use where the user says nothing. */
export interface ModelInfo {
  pipeline: string;
  width: number;
  height: number;
  /** Width and height are multiples of it. */
  factor: number;
  sampler: string;
  samplers: { name: string; label: string }[];
  steps: number;
  guidance_scale: number;
  /** Tokens of a prompt that fit in one chunk. */
  token_limit: number;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// See the TypeScript type of the same name.
    #[wasm_bindgen(typescript_type = "ModelInfo")]
    pub type JsModelInfo;
    /// See the TypeScript type of the same name.
    #[wasm_bindgen(typescript_type = "Request")]
    pub type JsRequest;
    /// Counts of a prompt's tokens.
    #[wasm_bindgen(typescript_type = "{ count: number; limit: number }")]
    pub type JsTokens;
    /// `(stage, done, total)`; the stages of loading are the model's parts, those of preparing `measuring` and
    /// `compiling`.
    #[wasm_bindgen(typescript_type = "(stage: string, done: number, total: number) => void")]
    pub type JsProgress;
}

#[derive(Serialize)]
struct ModelInfo {
    pipeline: String,
    width: usize,
    height: usize,
    factor: usize,
    sampler: &'static str,
    samplers: Vec<SamplerInfo>,
    steps: usize,
    guidance_scale: f64,
    token_limit: usize,
}

#[derive(Serialize)]
struct SamplerInfo {
    name: &'static str,
    label: &'static str,
}

#[derive(Serialize)]
struct Tokens {
    count: usize,
    limit: usize,
}

#[derive(Deserialize)]
struct RequestFields {
    prompt: String,
    negative_prompt: String,
    steps: usize,
    guidance_scale: f64,
    sampler: String,
    seed: u64,
    width: usize,
    height: usize,
    strength: Option<f64>,
}

#[wasm_bindgen]
impl Engine {
    /// Opens the device, "gpu" or "cpu", which a worker can do once. The page decides which, and says whether the GPU is
    /// software, and of how many invocations its smallest subgroups are that devices may use: wgpu knows neither in a
    /// browser. With `f16`, activations are kept, and products may be computed, in that precision, where the GPU has it:
    /// [`Engine::f16`] says whether.
    ///
    /// # Errors
    /// An `Error` with code `no_adapter` or `bad_parameter`.
    pub async fn create(
        device: &str,
        software: Option<bool>,
        subgroup: Option<u32>,
        f16: Option<bool>,
    ) -> Result<Self, JsValue> {
        console_error_panic_hook::set_once();
        let choice: Choice = device.parse().map_err(|error| to_js(&error))?;
        let hardware = Hardware::open(choice, log_faults::install()).await.map_err(|error| to_js(&error))?;
        if software == Some(true) {
            hardware.assume_software();
        }
        hardware.assume_subgroups(subgroup.unwrap_or_default());
        let f16 = f16 == Some(true) && hardware.allow_f16().is_ok();
        Ok(Self { hardware: Rc::new(hardware), f16, canvas: Rc::default(), pipeline: None })
    }

    /// "gpu" or "cpu".
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn device(&self) -> String {
        if self.hardware.setup().is_some() { "gpu".into() } else { "cpu".into() }
    }

    /// Name of the adapter.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn adapter(&self) -> String {
        self.hardware.name().to_owned()
    }

    /// Whether it keeps activations in f16.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn f16(&self) -> bool {
        self.f16
    }

    /// Draws to `canvas` from now on.
    ///
    /// # Errors
    /// An `Error` with code `gpu` when the canvas has another kind of context already.
    pub fn attach(&mut self, canvas: OffscreenCanvas) -> Result<(), JsValue> {
        let canvas = Canvas::attach(canvas, &self.hardware).map_err(|error| to_js(&error))?;
        self.canvas.replace(Some(canvas));
        Ok(())
    }

    /// Loads a model in the place of the one before; `progress` hears of every part before it is read. `checkpoint`
    /// names the file of a single-file checkpoint, beside which `source` then has CLIP's `merges.txt`.
    ///
    /// # Errors
    /// An `Error` that names the file, tensor or field; the model before is gone then.
    pub async fn load(
        &mut self,
        source: JsSource,
        progress: JsProgress,
        checkpoint: Option<String>,
    ) -> Result<JsModelInfo, JsValue> {
        // Its memory first: two models may not fit.
        self.pipeline = None;
        let progress: js_sys::Function = progress.unchecked_into();
        let report = |Loading { part, done, total }: Loading| {
            let (done, total) = (JsValue::from(done as u32), JsValue::from(total as u32));
            // A listener that throws must not stop the load.
            let _ = progress.call3(&JsValue::NULL, &part.folder().into(), &done, &total);
        };
        let hardware = Rc::clone(&self.hardware);
        let source = model_source(source, checkpoint).await.map_err(|error| to_js(&error))?;
        let loaded = Pipeline::load(source, hardware, Prefer::Half, report).await;
        let pipeline = loaded.map_err(|error| to_js(&error))?;
        let info = model_info(pipeline.description(), pipeline.tokenizer().capacity());
        self.pipeline = Some(Rc::new(pipeline));
        Ok(serde_wasm_bindgen::to_value(&info)?.unchecked_into())
    }

    /// Tokens of a prompt, and how many fit in one chunk.
    ///
    /// # Errors
    /// An `Error` with code `bad_prompt` for broken weights.
    pub fn tokens(&self, text: &str) -> Result<JsTokens, JsValue> {
        let tokenizer = self.loaded()?.tokenizer();
        let parsed = prompt::parse(text).map_err(|error| to_js(&error))?;
        let count = prompt::token_count(&parsed.segments, tokenizer).map_err(|error| to_js(&error))?;
        Ok(serde_wasm_bindgen::to_value(&Tokens { count, limit: tokenizer.capacity() })?.unchecked_into())
    }

    /// With true, the parts of models follow each other on the device: each is read when a stage needs it, and given back
    /// before the next. A picture that exhausts the memory begins so by itself. To be set before a model is loaded.
    #[wasm_bindgen(setter, js_name = lowMemory)]
    pub fn set_low_memory(&self, low: bool) {
        self.hardware.set_low_memory(low);
    }

    /// The most bytes that were taken on the GPU since the last call; 0 on the CPU.
    #[wasm_bindgen(js_name = takeMostGpuBytes)]
    #[must_use]
    pub fn take_most_gpu_bytes(&self) -> f64 {
        self.hardware.take_most_gpu_bytes() as f64
    }

    /// Computes every operation in odd shapes on the device and on the CPU; resolves with the differences beyond
    /// rounding, in words. None is good: the driver computes what it should.
    ///
    /// # Errors
    /// An `Error` with code `gpu` when the device fails.
    #[wasm_bindgen(js_name = selfTest)]
    pub async fn self_test(&self) -> Result<Vec<String>, JsValue> {
        self.hardware.self_test().await.map_err(|error| to_js(&error))
    }

    /// What was measured on the adapter, as JSON text: to be kept, and given to [`Engine::adopt_strategies`] the next
    /// time.
    #[wasm_bindgen(getter)]
    #[must_use]
    pub fn strategies(&self) -> String {
        self.hardware.strategies().to_json()
    }

    /// Takes over what [`Engine::strategies`] gave an earlier time; text of no use is ignored.
    #[wasm_bindgen(js_name = adoptStrategies)]
    pub fn adopt_strategies(&self, text: &str) {
        self.hardware.adopt_strategies(text);
    }

    /// Compiles what a picture needs; the first time on an adapter, measures how it computes best. `progress` hears
    /// of what is done and to do. Nothing happens for what was prepared before.
    ///
    /// # Errors
    /// Those of [`Engine::start`].
    pub async fn prepare(&self, request: JsRequest, progress: JsProgress) -> Result<(), JsValue> {
        let pipeline = Rc::clone(self.loaded()?);
        let request = request_of(request)?;
        let progress: js_sys::Function = progress.unchecked_into();
        let report = |preparation| {
            let (stage, done, total) = match preparation {
                Preparation::Measuring { done, total } => ("measuring", done, total),
                Preparation::Compiling { done, total } => ("compiling", done, total),
            };
            // A listener that throws must not stop the preparation.
            let _ =
                progress.call3(&JsValue::NULL, &stage.into(), &(done as u32).into(), &(total as u32).into());
        };
        pipeline.prepare(&request, report).await.map_err(|error| to_js(&error))
    }

    /// Starts a picture: encodes the prompt, and draws the noise that it begins with on the canvas.
    ///
    /// # Errors
    /// An `Error` with code `bad_parameter` or `bad_prompt`, or one of the device's.
    pub async fn start(&self, request: JsRequest) -> Result<Run, JsValue> {
        let pipeline = Rc::clone(self.loaded()?);
        let request = request_of(request)?;
        let (width, height) = (request.width, request.height);
        let run = pipeline::Run::start(Rc::clone(&pipeline), request).await.map_err(|error| to_js(&error))?;
        let run = Run::new(run, pipeline, Rc::clone(&self.canvas), width, height);
        run.draw_preview().await.map_err(|error| to_js(&error))?;
        Ok(run)
    }
}

impl Engine {
    /// The opened device.
    pub(super) fn hardware(&self) -> Rc<Hardware> {
        Rc::clone(&self.hardware)
    }

    /// The loaded model.
    pub(super) fn loaded(&self) -> Result<&Rc<Pipeline>, JsValue> {
        self.pipeline.as_ref().ok_or_else(|| misuse("no model is loaded: call load() first"))
    }
}

fn request_of(request: JsRequest) -> Result<Request, JsValue> {
    let image = bytes_of(&request, "image")?;
    let mask_image = bytes_of(&request, "mask_image")?;
    let fields: RequestFields = serde_wasm_bindgen::from_value(request.into()).map_err(|error| {
        let reason = format!("does not hold what it must: {error}");
        to_js(&Error::Parameter { name: "request".into(), reason })
    })?;
    fields.into_request(image, mask_image).map_err(|error| to_js(&error))
}

/// The bytes of a field, if it is there. Serde would ask JavaScript for one byte at a time.
fn bytes_of(request: &JsValue, name: &str) -> Result<Option<Arc<[u8]>>, JsValue> {
    let value = js_sys::Reflect::get(request, &name.into())?;
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    let Some(array) = value.dyn_ref::<js_sys::Uint8Array>() else {
        let reason = "must be a Uint8Array".into();
        return Err(to_js(&Error::Parameter { name: name.into(), reason }));
    };
    Ok(Some(array.to_vec().into()))
}

impl RequestFields {
    fn into_request(
        self,
        image: Option<Arc<[u8]>>,
        mask_image: Option<Arc<[u8]>>,
    ) -> crate::error::Result<Request> {
        if image.is_none() && mask_image.is_some() {
            let reason = "needs an `image` that it is the mask of".into();
            return Err(Error::Parameter { name: "mask_image".into(), reason });
        }
        let sampler: Option<SamplerKind> =
            if self.sampler.is_empty() { None } else { Some(self.sampler.parse()?) };
        Ok(Request {
            prompt: self.prompt,
            negative_prompt: self.negative_prompt,
            steps: self.steps,
            guidance_scale: self.guidance_scale,
            sampler,
            seed: self.seed,
            width: self.width,
            height: self.height,
            init_image: image.map(|image| InitImage::new(image, mask_image, self.strength)),
            given: Given::default(),
        })
    }
}

fn model_info(description: &Description, token_limit: usize) -> ModelInfo {
    let (sizes, defaults) = (description.sizes(), description.defaults());
    ModelInfo {
        pipeline: description.index.class_name.clone(),
        width: sizes.width,
        height: sizes.height,
        factor: sizes.factor,
        sampler: description.sampler().map_or("", SamplerKind::as_str),
        samplers: SamplerKind::ALL
            .map(|kind| SamplerInfo { name: kind.as_str(), label: kind.label() })
            .into_iter()
            .collect(),
        steps: defaults.steps,
        guidance_scale: defaults.guidance_scale,
        token_limit,
    }
}
