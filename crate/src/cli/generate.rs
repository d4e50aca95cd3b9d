//! `easel generate`.

use std::io::IsTerminal as _;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use easel::error::{Error, Result};
use easel::pipeline::{Encoded, Given, Loading, Pipeline, Preparation, Request, Run};
use easel::sampler::SamplerKind;
use easel::weights::Prefer;
use easel::weights::dump::{NamedTensor, TensorData};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::files::{check_ending, check_place, numbered, read_latents, write_dump, write_png};
use super::infotext::Infotext;
use super::init::Init;
use super::{Generate, lora, tune};

/// Most pictures of one call.
const MAX_COUNT: u64 = 10_000;

/// Milliseconds of the stages, in the order of `--json`.
#[derive(Default)]
struct Timings {
    load: f64,
    prepare: f64,
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
    check_ending(&options.out)?;
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
    let init = options.init.read()?;
    let bar = progress_bar();
    let start = Instant::now();
    let hardware = Rc::new(tune::open(options.device, options.precision).await?);
    hardware.set_low_memory(options.low_memory);
    let source = options.model.open().await?;
    let verification = source.verify();
    let pipeline = Pipeline::load(Box::new(source), hardware, Prefer::Full, |loading: Loading| {
        bar.set_message(format!("loading {}", loading.part.folder()));
        bar.tick();
    });
    let pipeline = pipeline.await;
    // Damage explains whatever else loading stumbled over.
    if let Some(verification) = verification {
        verification.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    let pipeline = Rc::new(pipeline?);
    for warning in lora::add(&pipeline, &options.lora).await? {
        bar.suspend(|| eprintln!("warning: {warning}"));
    }
    if let (None, Some(class)) = (options.sampler, pipeline.description().replaced_scheduler()) {
        bar.suspend(|| {
            eprintln!("warning: Easel has no {class}; DDIM takes its place, or what --sampler names");
        });
    }
    let load = milliseconds(start);
    let seed = options.seed.unwrap_or_else(random_seed);
    let first = request(options, &pipeline, seed, init.as_ref(), given)?;
    let start = Instant::now();
    prepare(&pipeline, &first, &bar).await?;
    let prepare = milliseconds(start);
    let start = Instant::now();
    let prepared = Run::start(Rc::clone(&pipeline), first.clone()).await?;
    let encode = milliseconds(start);
    prepared.warnings().iter().for_each(|warning| bar.suspend(|| eprintln!("warning: {warning}")));
    for number in 0..options.count {
        let request = Request { seed: first.seed.wrapping_add(number), ..first.clone() };
        let mut timings = Timings { load, prepare, encode, ..Timings::default() };
        let name = |path| if options.count > 1 { numbered(path, number + 1) } else { path.to_owned() };
        let out = name(&options.out);
        let (tensors, rgb) =
            draw(&pipeline, prepared.again(request.seed), options.dump.is_some(), &bar, &mut timings).await?;
        if let Some(dump) = &options.dump {
            write_dump(&name(dump), &tensors)?;
        }
        let text = infotext(options, &pipeline, &request);
        write_png(&out, &rgb, (request.width, request.height), &text)?;
        bar.suspend(|| report(options, &pipeline, &request, &timings, &out));
    }
    bar.finish_and_clear();
    Ok(())
}

/// Tunes and compiles, and keeps what was measured for the next call.
pub(super) async fn prepare(pipeline: &Pipeline, request: &Request, bar: &ProgressBar) -> Result<()> {
    let known = pipeline.hardware().strategies().entries().len();
    let show = |preparation| {
        let (message, done, total) = match preparation {
            Preparation::Measuring { done, total } => ("measuring the GPU", done, total),
            Preparation::Compiling { done, total } => ("compiling shaders", done, total),
        };
        bar.set_message(message);
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    pipeline.prepare(request, show).await?;
    if pipeline.hardware().strategies().entries().len() > known {
        tune::keep(pipeline.hardware());
    }
    Ok(())
}

fn request(
    options: &Generate,
    pipeline: &Pipeline,
    seed: u64,
    init: Option<&Init>,
    given: Given,
) -> Result<Request> {
    let (usual, sizes) = (pipeline.usual_request(), pipeline.description().sizes());
    let own_size = || init.map(|init| sizes.nearest(init.size()));
    let (width, height) = options.size.or_else(own_size).unwrap_or((usual.width, usual.height));
    // Before the picture is resized to it.
    sizes.check(width, height)?;
    Ok(Request {
        prompt: lora::with_tags(&options.prompt, &options.lora),
        negative_prompt: options.negative.clone(),
        steps: options.steps.unwrap_or(usual.steps),
        guidance_scale: options.guidance.unwrap_or(usual.guidance_scale),
        sampler: options.sampler,
        seed,
        width,
        height,
        init_image: init.map(|init| init.at(width, height)),
        given,
    })
}

/// What the picture's file says of how it was made.
fn infotext(options: &Generate, pipeline: &Pipeline, request: &Request) -> String {
    let infotext = Infotext {
        prompt: &request.prompt,
        negative_prompt: &request.negative_prompt,
        steps: request.steps,
        sampler: request.sampler.or_else(|| pipeline.description().sampler()),
        guidance_scale: request.guidance_scale,
        seed: request.seed,
        width: request.width,
        height: request.height,
        model: &options.model.name(),
        strength: request.init_image.as_ref().map(|image| image.strength),
        version: concat!("easel ", env!("CARGO_PKG_VERSION")),
    };
    infotext.text()
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
        timings.peak_gpu_bytes = timings.peak_gpu_bytes.max(pipeline.hardware().take_most_gpu_bytes());
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
    timings.peak_gpu_bytes = timings.peak_gpu_bytes.max(pipeline.hardware().take_most_gpu_bytes());
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

async fn encoded(pipeline: &Pipeline, prefix: &str, prompt: &Encoded) -> Result<Vec<NamedTensor>> {
    let mut tensors = Vec::new();
    for (name, ids) in [("token_ids", Some(&prompt.ids)), ("token_ids_2", prompt.ids_2.as_ref())] {
        let Some(ids) = ids else { continue };
        let data = TensorData::I64(ids.iter().map(|id| i64::from(*id)).collect());
        tensors.push(NamedTensor { name: format!("{prefix}{name}"), shape: vec![1, ids.len()], data });
    }
    let embeds = &prompt.embeds;
    let values = pipeline.hardware().read(embeds.clone()).await?;
    tensors.push(named(&format!("{prefix}text_embeddings"), embeds.dims().to_vec(), values));
    if let Some(text_embeds) = &prompt.text_embeds {
        let values = pipeline.hardware().read(text_embeds.clone()).await?;
        tensors.push(named(&format!("{prefix}pooled_text_embeddings"), vec![1, values.len()], values));
    }
    Ok(tensors)
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
        "strength": request.init_image.as_ref().map(|image| image.strength),
        "timings_ms": {
            "load": timings.load,
            "prepare": timings.prepare,
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
