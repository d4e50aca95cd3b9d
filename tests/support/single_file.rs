//! Single-file checkpoints for tests: of a golden model's own bytes by a recipe, and of shapes alone.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::ops::Range;

use cubecl::future::block_on;
use easel::error::Error as EaselError;
use easel::weights::safetensors::{Dtype, TensorInfo, read_header};
use easel::weights::source::{FolderSource, LocalBoxFuture, Source};
use serde_json::{Value, json};

pub(crate) type TestResult<T = ()> = Result<T, Box<dyn Error>>;

pub(crate) const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens");

/// A tensor with its bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Raw {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn read(source: &dyn Source, file: &str, info: &TensorInfo) -> TestResult<Raw> {
    let bytes = block_on(source.read(file, info.range.clone()))?;
    Ok(Raw { dtype: info.dtype.clone(), shape: info.shape.clone(), bytes })
}

/// All tensors of a golden model, as `part/name`.
pub(crate) fn model(name: &str) -> TestResult<BTreeMap<String, Raw>> {
    let folder = format!("{GOLDENS}/models/{name}");
    let source = FolderSource::new(&folder);
    let mut tensors = BTreeMap::new();
    for part in fs::read_dir(&folder)? {
        let part = part?.path();
        for file in part.is_dir().then(|| fs::read_dir(&part)).transpose()?.into_iter().flatten() {
            let file = file?.path();
            if file.extension().is_none_or(|extension| extension != "safetensors") {
                continue;
            }
            let part = part.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let path = format!("{part}/{}", file.file_name().unwrap_or_default().to_string_lossy());
            for (name, info) in block_on(read_header(&source, &path))?.tensors {
                tensors.insert(format!("{part}/{name}"), read(&source, &path, &info)?);
            }
        }
    }
    Ok(tensors)
}

/// The tensors of a golden model's checkpoint, made as the recipe says.
pub(crate) fn checkpoint(name: &str) -> TestResult<BTreeMap<String, Raw>> {
    let tensors = model(name)?;
    let recipe = fs::read_to_string(format!("{GOLDENS}/single_files/{name}.recipe"))?;
    let mut made = BTreeMap::new();
    for line in recipe.lines() {
        let mut words = line.split(' ');
        let (new, how) = (words.next().ok_or("a name")?, words.next().ok_or("a way")?);
        let sources: Option<Vec<&Raw>> = words.map(|word| tensors.get(word)).collect();
        let sources =
            sources.filter(|sources| !sources.is_empty()).ok_or_else(|| format!("no source: {line}"))?;
        made.insert(new.to_owned(), make(how, &sources)?);
    }
    Ok(made)
}

fn make(how: &str, sources: &[&Raw]) -> TestResult<Raw> {
    let mut raw = sources.first().copied().ok_or("a source")?.clone();
    match how {
        "copy" => {}
        "convolution" => raw.shape.extend([1, 1]),
        "rows" => {
            raw.shape[0] *= sources.len();
            raw.bytes = sources.iter().flat_map(|source| source.bytes.clone()).collect();
        }
        "transpose" => {
            let size = raw.dtype.bytes().ok_or("a size")? as usize;
            let [rows, columns] = raw.shape[..] else { return Err("a matrix".into()) };
            let at = |i: usize| (i % rows * columns + i / rows) * size;
            raw.bytes = (0..rows * columns).flat_map(|i| raw.bytes[at(i)..at(i) + size].to_vec()).collect();
            raw.shape.reverse();
        }
        other => return Err(format!("the recipe says {other}").into()),
    }
    Ok(raw)
}

/// A safetensors file.
pub(crate) fn file(tensors: &BTreeMap<String, Raw>, metadata: &Value) -> TestResult<Vec<u8>> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    header.insert("__metadata__".to_owned(), metadata.clone());
    for (name, raw) in tensors {
        let begin = data.len();
        data.extend(&raw.bytes);
        let entry =
            json!({ "dtype": raw.dtype.name(), "shape": raw.shape, "data_offsets": [begin, data.len()] });
        header.insert(name.clone(), entry);
    }
    let json = serde_json::to_vec(&header)?;
    Ok([(json.len() as u64).to_le_bytes().as_slice(), &json, &data].concat())
}

/// A file of half-precision zeros: only its header is held.
pub(crate) struct Hollow {
    pub(crate) header: Vec<u8>,
    pub(crate) size: u64,
}

impl Hollow {
    pub(crate) fn new(shapes: &BTreeMap<String, Vec<usize>>) -> TestResult<Self> {
        let mut header = serde_json::Map::new();
        let mut end = 0;
        for (name, shape) in shapes {
            let begin = end;
            end += 2 * shape.iter().product::<usize>();
            header.insert(
                name.clone(),
                json!({ "dtype": "F16", "shape": shape, "data_offsets": [begin, end] }),
            );
        }
        let json = serde_json::to_vec(&header)?;
        let header = [(json.len() as u64).to_le_bytes().as_slice(), &json].concat();
        let size = (header.len() + end) as u64;
        Ok(Self { header, size })
    }
}

impl Source for Hollow {
    fn size<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, easel::error::Result<Option<u64>>> {
        Box::pin(async { Ok(Some(self.size)) })
    }

    fn read<'a>(
        &'a self,
        path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, easel::error::Result<Vec<u8>>> {
        Box::pin(async move {
            let outside = || EaselError::Io { file: path.to_owned(), reason: "outside".to_owned() };
            if range.end > self.size {
                return Err(outside());
            }
            let byte =
                |at: u64| usize::try_from(at).ok().and_then(|at| self.header.get(at)).copied().unwrap_or(0);
            Ok(range.map(byte).collect())
        })
    }
}
