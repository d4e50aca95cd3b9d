//! Pictures made of pictures and masks, against what diffusers computed with the same weights, prompts and seeds
//! (`tests/goldens/picture_runs.py`), on the CPU and on the GPU.

#[path = "support/golden.rs"]
#[allow(dead_code, reason = "ids are compared by the runs from prompts alone")]
mod golden;

use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use cubecl::future::block_on;
use easel::hardware::{Choice, Faults, Hardware};
use easel::pipeline::{InitImage, Pipeline, Request, Run, planes};
use easel::weights::Prefer;
use easel::weights::source::FolderSource;
use golden::{Comparison, GOLDENS, Golden, TOLERANCE};
use serde::Deserialize;

type TestResult<T = ()> = Result<T, Box<dyn Error>>;
type Bytes = Arc<[u8]>;

/// What all runs have in common, and the runs, those of one model side by side.
#[derive(Deserialize)]
struct Index {
    request: Common,
    runs: Vec<Case>,
}

#[derive(Deserialize)]
struct Common {
    width: usize,
    height: usize,
    prompt: String,
    negative_prompt: String,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    model: String,
    sampler: Option<String>,
    strength: f64,
    mask: bool,
    steps: usize,
    guidance_scale: f64,
    seed: u64,
    calls: usize,
}

fn index() -> TestResult<Index> {
    Ok(serde_json::from_str(&std::fs::read_to_string(format!("{GOLDENS}/pictures.json"))?)?)
}

fn load(model: &str, hardware: &Rc<Hardware>) -> TestResult<Rc<Pipeline>> {
    let source = Box::new(FolderSource::new(format!("{GOLDENS}/models/{model}")));
    Ok(Rc::new(block_on(Pipeline::load(source, Rc::clone(hardware), Prefer::Full, |_| {}))?))
}

/// The picture of the goldens as RGBA, and their mask.
fn inputs(golden: &Golden) -> TestResult<(Bytes, Bytes)> {
    let (_, image) = golden.tensor::<3>("image")?;
    let (_, mask) = golden.tensor::<2>("mask_image")?;
    let pixels = image.as_chunks::<3>().0.iter();
    let rgba = pixels.flat_map(|[r, g, b]| [*r as u8, *g as u8, *b as u8, 255]).collect();
    Ok((rgba, mask.iter().map(|value| *value as u8).collect()))
}

fn request(common: &Common, case: &Case, golden: &Golden) -> TestResult<Request> {
    let (image, mask_image) = inputs(golden)?;
    Ok(Request {
        prompt: common.prompt.clone(),
        negative_prompt: common.negative_prompt.clone(),
        steps: case.steps,
        guidance_scale: case.guidance_scale,
        sampler: case.sampler.as_deref().map(str::parse).transpose()?,
        seed: case.seed,
        width: common.width,
        height: common.height,
        init_image: Some(InitImage::new(image, case.mask.then_some(mask_image), Some(case.strength))),
        given: easel::pipeline::Given::default(),
    })
}

/// What diffusers decoded, `[1, 3, h, w]`, with the picture's own pixels put back by the mask.
fn overlaid(golden: &Golden, name: &str, mask: bool) -> TestResult<Vec<f32>> {
    let (_, drawn) = golden.tensor::<4>(name)?;
    let ([_, _, _], image) = golden.tensor("image")?;
    let (_, mask_image) = golden.tensor::<2>("mask_image")?;
    let kept = planes(image, 3);
    let drawn_share = |pixel: usize| if mask { mask_image[pixel] / 255.0 } else { 1.0 };
    let value = |(i, (drawn, kept)): (usize, (&f32, &f32))| {
        let share = drawn_share(i % mask_image.len());
        share * drawn + (1.0 - share) * kept / 255.0
    };
    Ok(drawn.iter().zip(&kept).enumerate().map(value).collect())
}

fn check(pipeline: &Rc<Pipeline>, common: &Common, case: &Case, golden: &mut Comparison<'_>) -> TestResult {
    let request = request(common, case, golden.golden)?;
    let mut run = block_on(Run::start(Rc::clone(pipeline), request))?;
    assert_eq!(run.total(), case.calls, "{}", case.name);
    while let Some(step) = block_on(run.step())? {
        let latents = block_on(run.latents())?;
        if step.index == 1 {
            golden.compare(&format!("{}.latents.first", case.name), &latents)?;
        }
        if step.index == step.total {
            golden.compare(&format!("{}.latents.last", case.name), &latents)?;
        }
    }
    let name = format!("{}.image", case.name);
    let picture = block_on(pipeline.hardware().read(block_on(run.decode())?))?;
    golden.compare_values(&name, &planes(&picture, 3), &overlaid(golden.golden, &name, case.mask)?);
    Ok(())
}

/// All runs on one device; every model is loaded once.
fn all_runs(hardware: &Rc<Hardware>) -> TestResult {
    let golden = block_on(Golden::read("pictures.safetensors"))?;
    let Index { request: common, runs } = index()?;
    assert!(runs.len() > 30);
    let mut faults = Vec::new();
    let mut loaded: Option<(&str, Rc<Pipeline>)> = None;
    for case in &runs {
        let pipeline = match loaded.take().filter(|(name, _)| *name == case.model) {
            Some((_, pipeline)) => pipeline,
            None => load(&case.model, hardware)?,
        };
        let place = hardware.name().to_owned();
        let mut comparison = Comparison { golden: &golden, place, faults: &mut faults, tolerance: TOLERANCE };
        check(&pipeline, &common, case, &mut comparison)?;
        loaded = Some((&case.model, pipeline));
    }
    assert!(faults.is_empty(), "{} tensors differ:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

#[test]
fn pictures_equal_diffusers_on_the_cpu() -> TestResult {
    all_runs(&Rc::new(Hardware::cpu()))
}

#[test]
fn pictures_equal_diffusers_on_the_gpu() -> TestResult {
    all_runs(&Rc::new(block_on(Hardware::open(Choice::Gpu, Faults::default()))?))
}

/// A model for inpainting draws from a prompt alone, as if a mask left nothing of a picture.
#[test]
fn a_model_for_inpainting_needs_no_picture() -> TestResult {
    let pipeline = load("inpainting", &Rc::new(Hardware::cpu()))?;
    let (width, height) = (16, 16);
    let request = Request { prompt: "a fox".into(), steps: 2, width, height, ..pipeline.usual_request() };
    let draw = |init_image: Option<InitImage>| -> TestResult<Vec<f32>> {
        let request = Request { init_image, ..request.clone() };
        let mut run = block_on(Run::start(Rc::clone(&pipeline), request))?;
        while block_on(run.step())?.is_some() {}
        Ok(block_on(run.latents())?)
    };
    let grey: Arc<[u8]> = vec![90; width * height * 4].into();
    let all: Arc<[u8]> = vec![255; width * height].into();
    assert_eq!(draw(None)?, draw(Some(InitImage::new(grey, Some(all), None)))?);
    Ok(())
}

#[test]
fn impossible_requests_name_the_parameter() -> TestResult {
    let pipeline = load("sd1-legacy", &Rc::new(Hardware::cpu()))?;
    let start = |image: usize, mask: usize, strength: f64| {
        let init_image =
            InitImage { image: vec![0; image].into(), mask_image: Some(vec![0; mask].into()), strength };
        let request = Request {
            steps: 4,
            width: 16,
            height: 16,
            init_image: Some(init_image),
            ..pipeline.usual_request()
        };
        block_on(Run::start(Rc::clone(&pipeline), request)).map(|run| run.total())
    };
    assert!(matches!(start(1024, 256, 0.25), Ok(2)), "PNDM makes one call more than the single step");
    for (name, result) in [
        ("image", start(1023, 256, 0.5)),
        ("mask_image", start(1024, 1, 0.5)),
        ("strength", start(1024, 256, -0.1)),
        // Not one of four steps.
        ("strength", start(1024, 256, 0.1)),
    ] {
        let error = result.err().ok_or(name)?;
        assert_eq!(error.code(), "bad_parameter");
        assert!(error.to_string().starts_with(&format!("{name} ")), "{error}");
    }
    Ok(())
}
