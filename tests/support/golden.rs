//! Tensors that diffusers computed, and comparison with them.

use std::collections::BTreeMap;
use std::error::Error;

use easel::weights::Weights;
use easel::weights::safetensors::Dtype;
use easel::weights::source::{FolderSource, Source};

pub(crate) const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens");

/// [`Comparison::tolerance`] of f32. The generators refuse a run whose float32 rounding takes
/// it farther than 2e-5 of the range from float64, so that anything above five times that is a mistake.
pub(crate) const TOLERANCE: f32 = 1e-4;

/// Shape and values of a tensor.
type Shaped<'a, const D: usize> = ([usize; D], &'a [f32]);

/// Tensors of one file.
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
    /// Largest difference, relative to the range of the golden tensor.
    pub(crate) tolerance: f32,
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

    /// Values must be within the tolerance.
    pub(crate) fn compare(&mut self, name: &str, found: &[f32]) -> Result<(), Box<dyn Error>> {
        let (_, expected) =
            self.golden.floats.get(name).ok_or_else(|| format!("there is no golden `{name}`"))?;
        self.compare_values(name, found, expected);
        Ok(())
    }

    /// [`Self::compare`] with values that are made of goldens.
    pub(crate) fn compare_values(&mut self, name: &str, found: &[f32], expected: &[f32]) {
        let (least, most) = expected.iter().fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        let differences = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
        // `f32::max` would hide a NaN.
        let worst = differences.fold(0.0, |worst: f32, next| if next <= worst { worst } else { next });
        // A golden of zeros has no range and is met exactly.
        let off = if worst == 0.0 { 0.0 } else { worst / (most - least) };
        if found.len() != expected.len() || off.is_nan() || off > self.tolerance {
            let (count, golden) = (found.len(), expected.len());
            self.faults
                .push(format!("{}: `{name}` is off by {off:e}, {count} values for {golden}", self.place));
        }
    }
}
