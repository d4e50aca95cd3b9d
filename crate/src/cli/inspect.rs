//! `easel inspect`.

use std::collections::BTreeMap;

use easel::error::{Error, Result};
use easel::pipeline::Description;
use easel::sampler::{self, SamplerKind, Span};
use easel::weights::manifest::Manifest;
use easel::weights::{Prefer, Weights};
use serde_json::{Value, json};

use super::lora;
use super::model::ModelFiles;

pub(super) async fn run(model: &ModelFiles, verify: bool, as_json: bool) -> Result<()> {
    if let Some(file) = lora::look(&model.model).await? {
        lora::print(&file, as_json);
        return Ok(());
    }
    let report = report(model, verify).await;
    match &report {
        Ok(report) if as_json => println!("{report}"),
        Ok(report) => print_text(report),
        Err(error) if as_json => {
            println!("{}", json!({ "runs": false, "code": error.code(), "reason": error.to_string() }));
        }
        Err(_) => {}
    }
    report.map(|_| ())
}

/// What a model is; an error when it cannot run. Weights are looked at as far as their headers go, but for `verify`,
/// which compares every byte with the manifest's hashes.
async fn report(model: &ModelFiles, verify: bool) -> Result<Value> {
    let source = &model.open().await?;
    if verify {
        let manifest = Manifest::read(source).await?;
        manifest.ok_or_else(|| Error::FileNotFound { file: Manifest::FILE.into() })?.verify(source).await?;
    }
    let description = Description::read(source).await?;
    let (tokenizer, _) = description.tokenizers(source).await?;
    let defaults = description.defaults();
    sampler::build(description.sampler(), &description.scheduler, defaults.steps, Span::All)?;
    let mut parts = Vec::new();
    for part in description.parts().into_iter().filter(|part| part.has_weights()) {
        let weights = Weights::open(source, part.folder(), Prefer::Full).await?;
        weights.check_formats()?;
        parts.push(json!({
            "part": part.folder(),
            "class": description.index.class(part.folder()),
            "tensors": weights.names().count(),
            "bytes": weights.bytes(),
            "packed": formats(&weights),
        }));
    }
    let sizes = description.sizes();
    Ok(json!({
        "pipeline": description.index.class_name,
        "runs": true,
        "sampler": description.sampler().map(SamplerKind::as_str),
        "scheduler": description.index.class("scheduler"),
        "steps": defaults.steps,
        "guidance_scale": defaults.guidance_scale,
        "width": sizes.width,
        "height": sizes.height,
        "factor": sizes.factor,
        "tokens": tokenizer.max_length(),
        "parts": parts,
    }))
}

/// How many tensors are packed in each format.
fn formats(weights: &Weights<'_>) -> BTreeMap<&'static str, usize> {
    let mut formats = BTreeMap::new();
    weights.packed().for_each(|(_, quant)| *formats.entry(quant.name()).or_default() += 1);
    formats
}

fn print_text(report: &Value) {
    let text = |key: &str| report[key].as_str().map_or_else(|| report[key].to_string(), str::to_owned);
    println!("{}: Easel runs it", text("pipeline"));
    println!("  pictures   {}x{}, multiples of {}", text("width"), text("height"), text("factor"));
    println!("  sampler    {} ({})", text("sampler"), text("scheduler"));
    println!("  usual      {} steps, guidance {}", text("steps"), text("guidance_scale"));
    println!("  prompt     chunks of {} tokens", text("tokens"));
    for part in report["parts"].as_array().into_iter().flatten() {
        let megabytes = part["bytes"].as_f64().unwrap_or(0.0) / 1e6;
        let name = part["part"].as_str().unwrap_or_default();
        let class = part["class"].as_str().unwrap_or_default();
        let packed = part["packed"].as_object().into_iter().flatten();
        let packed: String = packed.map(|(format, count)| format!(", {count} in {format}")).collect();
        println!("  {name:<14} {class:<27} {megabytes:>9.1} MB, {} tensors{packed}", part["tensors"]);
    }
}
