//! The files of `tests/goldens/runs` and `tests/goldens/loras`, and comparison with them.

use std::collections::BTreeMap;
use std::error::Error;

use easel::weights::Weights;
use easel::weights::safetensors::Dtype;
use easel::weights::source::{FolderSource, Source};
use serde::Deserialize;

pub(crate) const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens");

/// Largest difference, relative to the range of the golden tensor. `runs.py` refuses a run whose float32 rounding takes
/// it farther than 2e-5 of the range from float64, so that anything above five times that is a mistake.
const TOLERANCE: f32 = 1e-4;

/// Parameters of a run.
#[derive(Deserialize)]
pub(crate) struct Case {
    /// Below [`GOLDENS`].
    pub(crate) file: String,
    pub(crate) model: String,
    pub(crate) sampler: Option<String>,
    pub(crate) steps: usize,
    pub(crate) guidance_scale: f64,
    pub(crate) seed: u64,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) prompt: String,
    pub(crate) negative_prompt: String,
    pub(crate) calls: usize,
    /// Names of files in `loras`, with strengths.
    #[serde(default)]
    pub(crate) loras: BTreeMap<String, f64>,
}

/// Every run, those of one model and folder side by side.
pub(crate) fn cases() -> Result<Vec<Case>, Box<dyn Error>> {
    let mut cases = Vec::new();
    for folder in ["runs", "loras"] {
        let index = std::fs::read_to_string(format!("{GOLDENS}/{folder}/index.json"))?;
        for mut case in serde_json::from_str::<Vec<Case>>(&index)? {
            case.file = format!("{folder}/{}", case.file);
            cases.push(case);
        }
    }
    Ok(cases)
}

/// Shape and values of a tensor.
type Shaped<'a, const D: usize> = ([usize; D], &'a [f32]);

/// Tensors of one run.
pub(crate) struct Golden {
    floats: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    ids: BTreeMap<String, Vec<u32>>,
}

impl Golden {
    /// Reads all of a file below [`GOLDENS`].
    pub(crate) async fn read(path: &str) -> Result<Self, Box<dyn Error>> {
        let source = FolderSource::new(GOLDENS);
        let weights = Weights::open_file(&source, path).await?;
        let mut golden = Self { floats: BTreeMap::new(), ids: BTreeMap::new() };
        for (name, info) in weights.tensors() {
            if info.dtype == Dtype::I64 {
                let bytes = source.read(path, info.range.clone()).await?;
                let ids = bytes.as_chunks().0.iter().map(|bytes| u32::try_from(i64::from_le_bytes(*bytes)));
                golden.ids.insert(name.to_owned(), ids.collect::<Result<_, _>>()?);
            } else {
                let values = weights.read_f32(name, &info.shape).await?;
                golden.floats.insert(name.to_owned(), (info.shape.clone(), values));
            }
        }
        Ok(golden)
    }

    /// Shape and values of a tensor of `D` dimensions.
    pub(crate) fn tensor<const D: usize>(&self, name: &str) -> Result<Shaped<'_, D>, Box<dyn Error>> {
        let (shape, values) = self.floats.get(name).ok_or_else(|| format!("there is no golden `{name}`"))?;
        Ok((shape.as_slice().try_into()?, values))
    }
}

/// Collects what differs from one golden.
pub(crate) struct Comparison<'a> {
    pub(crate) golden: &'a Golden,
    pub(crate) place: String,
    pub(crate) faults: &'a mut Vec<String>,
}

impl Comparison<'_> {
    /// Ids must be equal.
    pub(crate) fn ids(&mut self, name: &str, found: &[u32]) -> Result<(), Box<dyn Error>> {
        let expected = self.golden.ids.get(name).ok_or_else(|| format!("there is no golden `{name}`"))?;
        if found != expected {
            self.faults.push(format!("{}: `{name}` is {found:?}, not {expected:?}", self.place));
        }
        Ok(())
    }

    /// Values must be within [`TOLERANCE`] of the range.
    pub(crate) fn compare(&mut self, name: &str, found: &[f32]) -> Result<(), Box<dyn Error>> {
        let (_, expected) =
            self.golden.floats.get(name).ok_or_else(|| format!("there is no golden `{name}`"))?;
        let (least, most) = expected.iter().fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        let differences = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
        // `f32::max` would hide a NaN.
        let worst = differences.fold(0.0, |worst: f32, next| if next <= worst { worst } else { next });
        // A golden of zeros has no range and is met exactly.
        let off = if worst == 0.0 { 0.0 } else { worst / (most - least) };
        if found.len() != expected.len() || off.is_nan() || off > TOLERANCE {
            let (count, golden) = (found.len(), expected.len());
            self.faults
                .push(format!("{}: `{name}` is off by {off:e}, {count} values for {golden}", self.place));
        }
        Ok(())
    }
}
