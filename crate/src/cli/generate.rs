//! `easel generate`.

use std::io::IsTerminal as _;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use easel::error::{Error, Result};
use easel::hardware::{Faults, Hardware};
use easel::pipeline::{Encoded, Given, Part, Pipeline, Request, Run};
use easel::sampler::SamplerKind;
use easel::weights::Prefer;
use easel::weights::dump::{NamedTensor, TensorData};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::Generate;
use super::files::{check_place, numbered, read_latents, write_dump, write_png};

/// Most pictures of one call.
const MAX_COUNT: u64 = 10_000;

/// Milliseconds of the stages, in the order of `--json`.
#[derive(Default)]
struct Timings {
    load: f64,
    encode: f64,
    steps: Vec<f64>,
    decode: f64,
    peak_gpu_bytes: u64,
}

pub(super) async fn run(options: &Generate) -> Result<()> {
    if options.count == 0 || options.count > MAX_COUNT {
        let reason = format!("must be 1 to {MAX_COUNT}, not {}", options.count);
        return Err(Error::Parameter { name: "count".into(), reason });
    }
    [Some(&options.out), options.dump.as_ref()]
        .into_iter()
        .flatten()
        .try_for_each(|path| check_place(path))?;
    if options.dump.as_ref() == Some(&options.out) {
        let reason = "must not be the file of --out".into();
        return Err(Error::Parameter { name: "dump".into(), reason });
    }
    let given = match &options.latents {
        Some(path) => read_latents(path).await?,
        None => Given::default(),
    };
    let bar = progress_bar();
    let start = Instant::now();
    let hardware = Rc::new(Hardware::open(options.device, Faults::default()).await?);
    let source = Box::new(options.model.open().await?);
    let pipeline = Pipeline::load(source, hardware, Prefer::Full, |part: Part| {
        bar.set_message(format!("loading {}", part.folder()));
        bar.tick();
    });
    let pipeline = Rc::new(pipeline.await?);
    let load = milliseconds(start);
    let first = request(options, &pipeline, options.seed.unwrap_or_else(random_seed), given);
    let start = Instant::now();
    let prepared = Run::start(Rc::clone(&pipeline), first.clone()).await?;
    let encode = milliseconds(start);
    prepared.warnings().iter().for_each(|warning| bar.suspend(|| eprintln!("warning: {warning}")));
    for number in 0..options.count {
        let request = Request { seed: first.seed.wrapping_add(number), ..first.clone() };
        let mut timings = Timings { load, encode, ..Timings::default() };
        let name = |path| if options.count > 1 { numbered(path, number + 1) } else { path.to_owned() };
        let out = name(&options.out);
        let (tensors, rgb) =
            draw(&pipeline, prepared.again(request.seed), options.dump.is_some(), &bar, &mut timings).await?;
        if let Some(dump) = &options.dump {
            write_dump(&name(dump), &tensors)?;
        }
        write_png(&out, &rgb, request.width, request.height)?;
        bar.suspend(|| report(options, &pipeline, &request, &timings, &out));
    }
    bar.finish_and_clear();
    Ok(())
}

fn request(options: &Generate, pipeline: &Pipeline, seed: u64, given: Given) -> Request {
    let description = pipeline.description();
    let (sizes, defaults) = (description.sizes(), description.defaults());
    let (width, height) = options.size.unwrap_or((sizes.width, sizes.height));
    Request {
        prompt: options.prompt.clone(),
        negative_prompt: options.negative.clone(),
        steps: options.steps.unwrap_or(defaults.steps),
        guidance_scale: options.guidance.unwrap_or(defaults.guidance_scale),
        sampler: options.sampler,
        seed,
        width,
        height,
        given,
    }
}

/// One picture, `[pixels, 3]`, and what `--dump` writes of it.
async fn draw(
    pipeline: &Rc<Pipeline>,
    mut run: Run,
    dump: bool,
    bar: &ProgressBar,
    timings: &mut Timings,
) -> Result<(Vec<NamedTensor>, Vec<f32>)> {
    let mut tensors = Vec::new();
    if dump {
        tensors.extend(encoded(pipeline, "", &run.prompt_embeds().prompt).await?);
        if let Some(negative) = &run.prompt_embeds().negative {
            tensors.extend(encoded(pipeline, "negative_", negative).await?);
        }
        tensors.push(latents(&run, 0).await?);
    }
    bar.set_length(run.total() as u64);
    bar.set_position(0);
    loop {
        let start = Instant::now();
        let Some(step) = run.step().await? else { break };
        timings.steps.push(milliseconds(start));
        timings.peak_gpu_bytes = timings.peak_gpu_bytes.max(pipeline.hardware().gpu_bytes());
        bar.set_position(step.index as u64);
        bar.set_message(format!("step {}/{}", step.index, step.total));
        if dump {
            tensors.push(latents(&run, step.index).await?);
        }
    }
    bar.set_message("decoding");
    let start = Instant::now();
    let rgb = pipeline.hardware().read(run.decode().await?).await?;
    timings.decode = milliseconds(start);
    timings.peak_gpu_bytes = timings.peak_gpu_bytes.max(pipeline.hardware().gpu_bytes());
    if dump {
        let planes = easel::pipeline::planes(&rgb, 3);
        let factor = pipeline.description().sizes().factor;
        let (height, width) = run.latent_size();
        tensors.push(named("image", vec![1, 3, height * factor, width * factor], planes));
    }
    Ok((tensors, rgb))
}

fn named(name: &str, shape: Vec<usize>, values: Vec<f32>) -> NamedTensor {
    NamedTensor { name: name.to_owned(), shape, data: TensorData::F32(values) }
}

async fn encoded(pipeline: &Pipeline, prefix: &str, prompt: &Encoded) -> Result<[NamedTensor; 2]> {
    let ids = prompt.ids.iter().map(|id| i64::from(*id)).collect();
    let shape = prompt.embeds.dims().to_vec();
    let values = pipeline.hardware().read(prompt.embeds.clone()).await?;
    let ids_name = format!("{prefix}token_ids");
    Ok([
        NamedTensor { name: ids_name, shape: vec![1, prompt.ids.len()], data: TensorData::I64(ids) },
        named(&format!("{prefix}text_embeddings"), shape, values),
    ])
}

async fn latents(run: &Run, index: usize) -> Result<NamedTensor> {
    let (height, width) = run.latent_size();
    let values = run.latents().await?;
    let channels = values.len() / (height * width);
    Ok(named(&format!("latents.{index}"), vec![1, channels, height, width], values))
}

fn report(
    options: &Generate,
    pipeline: &Pipeline,
    request: &Request,
    timings: &Timings,
    out: &std::path::Path,
) {
    if !options.json {
        println!("{} (seed {})", out.display(), request.seed);
        return;
    }
    let sampler = request.sampler.or_else(|| pipeline.description().sampler()).map(SamplerKind::as_str);
    let report = json!({
        "out": out.display().to_string(),
        "device": pipeline.hardware().name(),
        "seed": request.seed,
        "steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "sampler": sampler,
        "width": request.width,
        "height": request.height,
        "timings_ms": {
            "load": timings.load,
            "encode": timings.encode,
            "steps": timings.steps,
            "decode": timings.decode,
        },
        "peak_gpu_bytes": timings.peak_gpu_bytes,
    });
    println!("{report}");
}

pub(super) fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{msg:24} {bar:30} {eta}") {
        bar.set_style(style);
    }
    bar
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

/// A seed that differs from call to call; below 2^32, the part that torch's generator uses.
fn random_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    ((now ^ (now >> 32)) & 0xffff_ffff) as u64
}
