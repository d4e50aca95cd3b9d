//! LoRA files on the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use easel::error::{Error, Result};
use easel::pipeline::Pipeline;
use easel::prompt::MAX_STRENGTH;
use easel::weights::lora::{LoraFile, LoraLayer, Part};
use easel::weights::safetensors::read_header;
use easel::weights::source::FolderSource;
use serde_json::json;

const ENDING: &str = ".safetensors";

/// `FILE.safetensors[=NAME][:STRENGTH]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LoraOption {
    path: PathBuf,
    name: String,
    strength: Option<f64>,
}

impl FromStr for LoraOption {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = |reason: String| Error::Parameter { name: "lora".into(), reason };
        let (before, after) = text
            .rsplit_once(ENDING)
            .ok_or_else(|| fail(format!("must be FILE{ENDING}[=NAME][:STRENGTH], not {text:?}")))?;
        let path = PathBuf::from(format!("{before}{ENDING}"));
        let (name, strength) = match after.split_once(':') {
            Some((name, strength)) => (name, Some(strength)),
            None => (after, None),
        };
        let number = |text: &str| text.parse().ok().filter(|strength: &f64| strength.abs() <= MAX_STRENGTH);
        let strength = match strength.map(|text| (text, number(text))) {
            Some((text, None)) => {
                return Err(fail(format!("has the strength {text:?}; up to {MAX_STRENGTH} is possible")));
            }
            other => other.and_then(|(_, strength)| strength),
        };
        let name = match name.strip_prefix('=') {
            Some(name) => name.to_owned(),
            None if name.is_empty() => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                stem.replace(['<', '>', ':'], "_").trim().to_owned()
            }
            None => return Err(fail(format!("has {name:?} after {ENDING}; a name follows `=`"))),
        };
        Ok(Self { path, name, strength })
    }
}

/// Adds LoRAs to a model; what of them is left out, one sentence each.
pub(super) async fn add(pipeline: &Pipeline, options: &[LoraOption]) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let mut names = BTreeSet::new();
    for LoraOption { path, name, .. } in options {
        if !names.insert(name) {
            let reason = format!("names two files `{name}`; write =NAME after one of them");
            return Err(Error::Parameter { name: "lora".into(), reason });
        }
        let (source, file) = open(path)?;
        warnings.extend(pipeline.add_lora(name, Box::new(source), &file).await?.warnings);
    }
    Ok(warnings)
}

/// The prompt with a tag for every LoRA that has a strength of its own.
pub(super) fn with_tags(prompt: &str, options: &[LoraOption]) -> String {
    let mut prompt = prompt.to_owned();
    for LoraOption { name, strength, .. } in options {
        if let Some(strength) = strength {
            prompt += &format!("<lora:{name}:{strength}>");
        }
    }
    prompt
}

fn open(path: &Path) -> Result<(FolderSource, String)> {
    let missing = || Error::FileNotFound { file: path.display().to_string() };
    let name =
        path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_file()).ok_or_else(missing)?;
    Ok((FolderSource::new(path.parent().unwrap_or(Path::new(""))), name.to_owned()))
}

/// The LoRA file at `path`; `None` for what is something else.
///
/// # Errors
/// Those of [`LoraFile::open`].
pub(super) async fn look(path: &Path) -> Result<Option<LoraFile>> {
    if path.extension().is_none_or(|extension| extension != "safetensors") {
        return Ok(None);
    }
    let (source, name) = open(path)?;
    if !LoraFile::is_lora(&read_header(&source, &name).await?) {
        return Ok(None);
    }
    LoraFile::open(&source, &name).await.map(Some)
}

/// Says what a LoRA file holds.
pub(super) fn print(file: &LoraFile, as_json: bool) {
    let mut parts: BTreeMap<Part, Vec<&LoraLayer>> = BTreeMap::new();
    file.layers().iter().for_each(|layer| parts.entry(layer.name.part).or_default().push(layer));
    let name = |part: &Part| match part {
        Part::TextEncoder => "text_encoder",
        Part::TextEncoder2 => "text_encoder_2",
        Part::Unet => "unet",
    };
    let ranks = |layers: &[&LoraLayer]| {
        let ranks: BTreeSet<usize> = layers.iter().map(|layer| layer.rank).collect();
        ranks.into_iter().collect::<Vec<_>>()
    };
    if as_json {
        let part = |(part, layers): (&Part, &Vec<&LoraLayer>)| json!({ "part": name(part), "layers": layers.len(), "ranks": ranks(layers) });
        let parts: Vec<_> = parts.iter().map(part).collect();
        println!("{}", json!({ "lora": file.path(), "parts": parts, "other_tensors": file.others() }));
        return;
    }
    println!("{}: a LoRA", file.path());
    for (part, layers) in &parts {
        let ranks: Vec<String> = ranks(layers).iter().map(usize::to_string).collect();
        println!("  {:<14} {} layers of rank {}", name(part), layers.len(), ranks.join(", "));
    }
}
