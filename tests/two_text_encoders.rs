//! Prompts of the SDXL family beyond what diffusers does by itself: several chunks and weights, for both encoders.

use std::error::Error;
use std::rc::Rc;

use burn::tensor::Tensor;
use cubecl::future::block_on;
use easel::hardware::Hardware;
use easel::pipeline::{Description, Encoded, Pipeline, PromptEmbeds};
use easel::sampler::{SchedulerConfig, Span, build};
use easel::weights::Prefer;
use easel::weights::pack::Overlay;
use easel::weights::source::{FolderSource, MemorySource};

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens");

/// Widths of the tiny models' encoders.
const WIDTHS: [usize; 2] = [8, 12];

type TestResult<T = ()> = Result<T, Box<dyn Error>>;

fn load(model: &str) -> TestResult<Pipeline> {
    let source = Box::new(FolderSource::new(format!("{GOLDENS}/models/{model}")));
    let hardware = Rc::new(Hardware::cpu());
    Ok(block_on(Pipeline::load(source, hardware, Prefer::Full, |_| {}))?)
}

fn encode(pipeline: &Pipeline, prompt: &str, negative: Option<&str>) -> TestResult<PromptEmbeds> {
    Ok(block_on(pipeline.encode(prompt, negative))?)
}

fn read(pipeline: &Pipeline, tensor: &Tensor<3>) -> TestResult<Vec<f32>> {
    Ok(block_on(pipeline.hardware().read(tensor.clone()))?)
}

fn pooled(pipeline: &Pipeline, encoded: &Encoded) -> TestResult<Vec<f32>> {
    read(pipeline, encoded.text_embeds.as_ref().ok_or("no pooled text")?)
}

/// One encoder's columns of the embeddings.
fn columns(pipeline: &Pipeline, encoded: &Encoded, encoder: usize) -> TestResult<Vec<f32>> {
    let start = if encoder == 0 { 0 } else { WIDTHS[0] };
    read(pipeline, &encoded.embeds.clone().narrow(2, start, WIDTHS[encoder]))
}

#[test]
fn long_prompts_are_chunks_of_both_encoders_with_the_pooled_text_of_the_first() -> TestResult {
    let pipeline = load("sdxl")?;
    let whole = encode(&pipeline, "a photo of a cat BREAK an old castle", Some("grey"))?;
    let [first, second] =
        ["a photo of a cat", "an old castle"].map(|text| encode(&pipeline, text, None).map(|it| it.prompt));
    let (first, second) = (first?, second?);
    assert_eq!(whole.prompt.embeds.dims(), [1, 2 * 77, WIDTHS[0] + WIDTHS[1]]);
    let parts = [read(&pipeline, &first.embeds)?, read(&pipeline, &second.embeds)?].concat();
    assert_eq!(read(&pipeline, &whole.prompt.embeds)?, parts);
    assert_eq!(
        whole.prompt.ids_2,
        Some([first.ids_2.as_deref(), second.ids_2.as_deref()].map(Option::unwrap_or_default).concat())
    );
    assert_eq!(pooled(&pipeline, &whole.prompt)?, pooled(&pipeline, &first)?);
    let negative = whole.negative.ok_or("no negative prompt")?;
    assert_eq!(negative.embeds.dims(), whole.prompt.embeds.dims());
    Ok(())
}

#[test]
fn weights_change_the_states_of_both_encoders_and_not_the_pooled_text() -> TestResult {
    let pipeline = load("sdxl")?;
    let plain = encode(&pipeline, "a photo of a cat", None)?.prompt;
    let weighted = encode(&pipeline, "a photo of a (cat:1.5)", None)?.prompt;
    assert_eq!((&plain.ids, &plain.ids_2), (&weighted.ids, &weighted.ids_2));
    for encoder in [0, 1] {
        let [plain, weighted] =
            [columns(&pipeline, &plain, encoder)?, columns(&pipeline, &weighted, encoder)?];
        assert_ne!(plain, weighted, "encoder {encoder}");
        // Each encoder's mean is restored by itself.
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean(&plain) - mean(&weighted)).abs() < 1e-5, "encoder {encoder}");
    }
    assert_eq!(pooled(&pipeline, &plain)?, pooled(&pipeline, &weighted)?);
    Ok(())
}

#[test]
fn an_empty_negative_prompt_is_zeros_where_the_model_says_so() -> TestResult {
    for (model, negative, zeros) in
        [("sdxl", "", true), ("sdxl", "grey", false), ("sdxl-turbo", "", false), ("ssd-1b", "", true)]
    {
        let pipeline = load(model)?;
        let embeds = encode(&pipeline, &"many words ".repeat(60), Some(negative))?;
        let found = embeds.negative.ok_or("no negative prompt")?;
        assert_eq!(found.embeds.dims(), embeds.prompt.embeds.dims());
        for values in [read(&pipeline, &found.embeds)?, pooled(&pipeline, &found)?] {
            assert_eq!(values.iter().all(|value| *value == 0.0), zeros, "{model} {negative:?}");
        }
    }
    Ok(())
}

/// `StableDiffusionPipeline` sets the offset to 1, `StableDiffusionXLPipeline` leaves it as it is.
#[test]
fn the_offset_of_timesteps_is_the_schedulers_own() -> TestResult {
    let scheduler = r#"{"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"}"#;
    for (name, last) in [("sdxl", 0.0), ("sd1", 1.0)] {
        let mut files = MemorySource::default();
        files.insert(SchedulerConfig::FILE, scheduler);
        let model = FolderSource::new(format!("{GOLDENS}/models/{name}"));
        let description = block_on(Description::read(&Overlay { model, files }))?;
        let sampler = build(None, &description.scheduler, 4, Span::All)?;
        assert_eq!(sampler.calls.last().map(|call| call.timestep), Some(last), "{name}");
    }
    Ok(())
}
