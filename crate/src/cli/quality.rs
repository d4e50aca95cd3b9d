//! `easel quality`.

mod comparison;

use std::path::Path;
use std::rc::Rc;

use easel::error::{Error, Result};
use easel::hardware::Hardware;
use easel::pipeline::{Description, Given, Part, Pipeline, Request, Run};
use easel::quantization::{Layout, Policy, Quant};
use easel::weights::pack::{Overlay, pack_part, packing};
use easel::weights::source::{FolderSource, MemorySource, Source};
use easel::weights::{Prefer, Weights};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::files::open_model;
use super::generate::{prepare, progress_bar};
use super::{Precision, Quality, tune};
use comparison::{Comparison, Outcome, compare, mean};

/// What all runs have in common.
struct Session<'a> {
    options: &'a Quality,
    source: FolderSource,
    hardware: Rc<Hardware>,
    /// Each with its seed.
    prompts: Vec<(u64, String)>,
    /// Parts that have weights.
    parts: Vec<Part>,
    bar: ProgressBar,
}

/// A layer, and what packing it alone does.
struct Layer {
    part: Part,
    tensor: String,
    saved: u64,
    comparison: Comparison,
}

impl Layer {
    /// Squared error of the picture for each byte that packing saves.
    fn damage(&self) -> f64 {
        self.comparison.picture_error / self.saved as f64
    }
}

pub(super) async fn run(options: &Quality) -> Result<()> {
    let source = open_model(&options.model).await?;
    let parts = Description::read(&source).await?.parts().into_iter().filter(|part| part.has_weights());
    let session = Session {
        options,
        prompts: read_prompts(&options.prompts)?,
        parts: parts.collect(),
        source,
        hardware: Rc::new(tune::open(options.device, Precision::F32).await?),
        bar: progress_bar(),
    };
    if options.precision == Precision::F16 {
        session.hardware.check_f16()?;
    }
    let reference = session.outcomes(Box::new(session.source.clone()), "f32").await?;
    if let (true, Some(quant)) = (options.sensitivity, &options.quant) {
        return session.sensitivity(quant, &reference).await;
    }
    let source: Box<dyn Source> = match &options.quant {
        Some(quant) => Box::new(session.packed(&session.parts, quant).await?),
        None => Box::new(session.source.clone()),
    };
    if options.precision == Precision::F16 {
        session.hardware.allow_f16()?;
        tune::adopt(&session.hardware);
    }
    let found = session.outcomes(source, options.quant.as_ref().map_or("f16", Policy::name)).await?;
    session.bar.finish_and_clear();
    let comparisons: Vec<Comparison> = reference.iter().zip(&found).map(|(a, b)| compare(a, b)).collect();
    print(&session, &comparisons);
    Ok(())
}

/// The prompts of a file, and the numbers of their lines.
fn read_prompts(path: &Path) -> Result<Vec<(u64, String)>> {
    let failed = |reason: String| Error::Io { file: path.display().to_string(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let numbered = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty());
    let prompts: Vec<_> = numbered.map(|(number, line)| (number, line.to_owned())).collect();
    if prompts.is_empty() { Err(failed("it has no prompt".into())) } else { Ok(prompts) }
}

impl Session<'_> {
    /// The model with some parts packed in memory.
    async fn packed(&self, parts: &[Part], policy: &Policy) -> Result<Overlay<FolderSource>> {
        let mut files = MemorySource::default();
        for part in parts {
            pack_part(&self.source, part.folder(), policy, u64::MAX, &mut files).await?;
        }
        Ok(Overlay { model: self.source.clone(), files })
    }

    /// Draws every prompt, computed as `easel generate` computes it.
    async fn outcomes(&self, source: Box<dyn Source>, label: &str) -> Result<Vec<Outcome>> {
        let pipeline = Pipeline::load(source, Rc::clone(&self.hardware), Prefer::Full, |_| {}).await?;
        let pipeline = Rc::new(pipeline);
        let mut outcomes = Vec::with_capacity(self.prompts.len());
        for (i, (seed, prompt)) in self.prompts.iter().enumerate() {
            let request = self.request(&pipeline, prompt, *seed);
            prepare(&pipeline, &request, &self.bar).await?;
            self.bar.set_message(format!("{label}: {}/{}", i + 1, self.prompts.len()));
            self.bar.tick();
            let mut run = Run::start(Rc::clone(&pipeline), request).await?;
            let unet = run.model_output().await?;
            while run.step().await?.is_some() {}
            let picture = self.hardware.read(run.decode().await?).await?;
            outcomes.push(Outcome { unet, latents: run.latents().await?, picture });
        }
        Ok(outcomes)
    }

    fn request(&self, pipeline: &Pipeline, prompt: &str, seed: u64) -> Request {
        let (sizes, defaults) = (pipeline.description().sizes(), pipeline.description().defaults());
        Request {
            prompt: prompt.to_owned(),
            negative_prompt: String::new(),
            steps: self.options.steps.unwrap_or(defaults.steps),
            guidance_scale: defaults.guidance_scale,
            sampler: None,
            seed,
            width: sizes.width,
            height: sizes.height,
            init_image: None,
            given: Given::default(),
        }
    }

    async fn sensitivity(&self, policy: &Policy, reference: &[Outcome]) -> Result<()> {
        let mut layers = Vec::new();
        for part in self.parts.iter().copied() {
            for (tensor, quant, saved) in self.packable(policy, part).await? {
                let only = Policy::Only { part: part.folder().to_owned(), tensor: tensor.clone(), quant };
                let files = self.packed(&[part], &only).await?;
                let found = self.outcomes(Box::new(files), &format!("{} {tensor}", part.folder())).await?;
                let comparisons: Vec<Comparison> =
                    reference.iter().zip(&found).map(|(a, b)| compare(a, b)).collect();
                layers.push(Layer { part, tensor, saved, comparison: mean(&comparisons) });
            }
        }
        self.bar.finish_and_clear();
        layers.sort_by(|a, b| b.damage().total_cmp(&a.damage()));
        print_layers(&layers, self.options.json);
        Ok(())
    }

    /// Tensors that the policy packs, with their formats and the bytes that this saves over f16.
    async fn packable(&self, policy: &Policy, part: Part) -> Result<Vec<(String, Quant, u64)>> {
        let weights = Weights::open(&self.source, part.folder(), Prefer::Full).await?;
        let saved = |quant, layout: Layout| {
            let numbers = layout.n * layout.channels * layout.taps;
            (2 * numbers).saturating_sub(layout.bytes(quant)) as u64
        };
        let packable = weights.tensors().filter_map(|(name, info)| {
            let (quant, layout) = packing(policy, part.folder(), name, &info.shape)?;
            Some((name.to_owned(), quant, saved(quant, layout)))
        });
        Ok(packable.collect())
    }
}

fn print(session: &Session<'_>, comparisons: &[Comparison]) {
    let mean = mean(comparisons);
    if session.options.json {
        let prompt = |((_, prompt), it): (&(u64, String), &Comparison)| {
            let mut value = it.json();
            value["prompt"] = json!(prompt);
            value
        };
        let prompts: Vec<Value> = session.prompts.iter().zip(comparisons).map(prompt).collect();
        let quant = session.options.quant.as_ref().map(Policy::name);
        println!("{}", json!({ "quant": quant, "prompts": prompts, "mean": mean.json() }));
        return;
    }
    println!("{:>8} {:>11} {:>10}", "latents", "picture", "UNet call");
    for ((_, prompt), comparison) in session.prompts.iter().zip(comparisons) {
        println!("{comparison}  {prompt}");
    }
    println!("{mean}  mean");
}

fn print_layers(layers: &[Layer], as_json: bool) {
    if as_json {
        let layer = |layer: &Layer| {
            let mut value = layer.comparison.json();
            value["tensor"] = json!(format!("{}/{}", layer.part.folder(), layer.tensor));
            value["bytes_saved"] = json!(layer.saved);
            value["damage"] = json!(layer.damage());
            value
        };
        println!("{}", json!({ "layers": layers.iter().map(layer).collect::<Vec<_>>() }));
        return;
    }
    println!("{:>10} {:>10} {:>8} {:>11} {:>10}", "damage/MB", "saved", "latents", "picture", "UNet call");
    for layer in layers {
        let (damage, kilobytes) = (layer.damage() * 1e6, layer.saved as f64 / 1e3);
        let part = layer.part.folder();
        println!("{damage:>10.2e} {kilobytes:>7.0} kB {}  {part}/{}", layer.comparison, layer.tensor);
    }
}
