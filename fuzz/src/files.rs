//! Files around an input: the tiny golden models of the tests, and safetensors files of a given header.

use std::collections::BTreeMap;
use std::fs;
use std::io::Result;
use std::path::Path;

use easel::weights::source::MemorySource;
use serde_json::Value;

/// Most bytes of tensors that [`safetensors`] makes.
const LONGEST_BODY: u64 = 1 << 18;

/// Folder of the tests' golden files.
pub const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens");

/// The files of a golden model that are no weights, by their paths.
///
/// # Errors
/// Those of the file system.
pub fn texts(model: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    add(&Path::new(GOLDENS).join("models").join(model), "", &mut files)?;
    Ok(files)
}

fn add(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        let name = format!("{prefix}{}", name.to_string_lossy());
        if path.is_dir() {
            add(&path, &format!("{name}/"), files)?;
        } else if !name.ends_with(".safetensors") {
            files.insert(name, fs::read(path)?);
        }
    }
    Ok(())
}

/// A source of `files`.
#[must_use]
pub fn source(files: &BTreeMap<String, Vec<u8>>) -> MemorySource {
    let mut source = MemorySource::default();
    files.iter().for_each(|(path, bytes)| source.insert(path.clone(), bytes.clone()));
    source
}

/// A safetensors file of this header, whether or not it is one. Its tensors have as many bytes as the header says, of
/// some value each, so that inputs differ in what matters.
#[must_use]
pub fn safetensors(header: &[u8]) -> Vec<u8> {
    let body = body_length(header).unwrap_or_default().min(LONGEST_BODY);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend((0..body).map(|at| (at * 37 >> 2) as u8));
    bytes
}

/// The highest end of a tensor.
fn body_length(header: &[u8]) -> Option<u64> {
    let header: Value = serde_json::from_slice(header).ok()?;
    header.as_object()?.values().filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64()).max()
}
