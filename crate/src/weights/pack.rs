//! Writing a part of a model with its weights packed.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::packed::{self, Description, METADATA_KEY, SCALE};
use super::safetensors::TensorInfo;
use super::source::{LocalBoxFuture, MemorySource, Source, check_path};
use super::{Prefer, Weights};
use crate::error::{Error, Result};
use crate::quantization::{Layout, Packed, Policy, Quant, pack};

/// Data begin at a multiple of this, as wide as the widest number.
const ALIGNMENT: usize = 8;

/// Where files are written to.
pub trait Target {
    /// Appends to the file `path`, which begins empty. Files are written one after the other.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn append(&mut self, path: &str, bytes: &[u8]) -> Result<()>;
}

impl Target for MemorySource {
    fn append(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        check_path(path)?;
        self.file_mut(path).extend_from_slice(bytes);
        Ok(())
    }
}

/// A model some of whose files are replaced by others in memory.
pub struct Overlay<S> {
    /// The model.
    pub model: S,
    /// What replaces its files.
    pub files: MemorySource,
}

impl<S: Source> Source for Overlay<S> {
    fn size<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<u64>>> {
        Box::pin(async move {
            match self.files.size(path).await? {
                None => self.model.size(path).await,
                found => Ok(found),
            }
        })
    }

    fn read<'a>(&'a self, path: &'a str, range: std::ops::Range<u64>) -> LocalBoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            match self.files.size(path).await? {
                None => self.model.read(path, range).await,
                Some(_) => self.files.read(path, range).await,
            }
        })
    }
}

/// A tensor to write.
struct Item<'a> {
    name: &'a str,
    info: &'a TensorInfo,
    packed: Option<(Quant, Layout)>,
}

impl Item<'_> {
    fn bytes(&self) -> u64 {
        match self.packed {
            Some((quant, layout)) => layout.bytes(quant) as u64,
            None => self.info.range.end - self.info.range.start,
        }
    }

    /// Bytes of a number, by which tensors are ordered in a file: so all of them are aligned.
    fn width(&self) -> u64 {
        if self.packed.is_some() { 4 } else { self.info.dtype.bytes().unwrap_or(1) }
    }

    fn is_table(&self) -> bool {
        is_table(self.name)
    }
}

/// Whether rows of a tensor are looked up rather than multiplied with: its blocks run along rows.
fn is_table(name: &str) -> bool {
    name.ends_with("token_embedding.weight")
}

/// How a policy packs a tensor of the file; `None` leaves it as it is. What packing would not make smaller than f16
/// stays, such as convolutions of few channels, which would be filled up to blocks.
#[must_use]
pub fn packing(policy: &Policy, part: &str, name: &str, shape: &[usize]) -> Option<(Quant, Layout)> {
    if !name.ends_with(".weight") || name.ends_with("position_embedding.weight") {
        return None;
    }
    let layout = match *shape {
        [rows, width] if is_table(name) => Layout::of_shape(&[width, rows])?,
        _ => Layout::of_shape(shape)?,
    };
    let quant = policy.quant(part, name)?;
    let numbers: usize = shape.iter().product();
    (layout.bytes(quant) < 2 * numbers).then_some((quant, layout))
}

/// Writes the weights of the part `folder`, packed by `policy`, under the names of diffusers: one file, or shards of at
/// most `shard_bytes` where tensors allow it, and their index.
///
/// # Errors
/// Those of [`Weights`] and of the target; [`Error::Config`] for weights that are packed already or not finite.
pub async fn pack_part(
    source: &dyn Source,
    folder: &str,
    policy: &Policy,
    shard_bytes: u64,
    target: &mut dyn Target,
) -> Result<()> {
    let weights = Weights::open(source, folder, Prefer::Full).await?;
    if let Some((tensor, _)) = weights.packed().next() {
        return Err(refused(&weights, tensor, "is packed already: pack the model that it was made from"));
    }
    let items = weights.tensors().map(|(name, info)| {
        let packed =
            packing(policy, folder, name, &info.shape).filter(|_| super::convert::readable(&info.dtype));
        Item { name, info, packed }
    });
    let items: Vec<_> = items.collect();
    let mut packed = items.iter().filter(|item| item.packed.is_some());
    if let Some(item) = packed.find(|item| weights.contains(&format!("{}{SCALE}", item.name))) {
        return Err(refused(&weights, item.name, "has a neighbour with the name that its scales would get"));
    }
    let shards = split(items, shard_bytes);
    let stem = if folder.starts_with("text_encoder") { "model" } else { "diffusion_pytorch_model" };
    let mut weight_map = BTreeMap::new();
    for (i, shard) in shards.iter().enumerate() {
        let name = match shards.len() {
            1 => format!("{stem}.safetensors"),
            count => format!("{stem}-{:05}-of-{count:05}.safetensors", i + 1),
        };
        write_file(&weights, shard, &format!("{folder}/{name}"), target).await?;
        for item in shard {
            let scale = item.packed.map(|_| format!("{}{SCALE}", item.name));
            weight_map.extend([item.name.to_owned()].into_iter().chain(scale).map(|it| (it, name.clone())));
        }
    }
    if shards.len() > 1 {
        let total_size: u64 = shards.iter().flatten().map(Item::bytes).sum();
        let index = json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
        let path = format!("{folder}/{stem}.safetensors.index.json");
        target.append(&path, format!("{index:#}\n").as_bytes())?;
    }
    Ok(())
}

fn refused(weights: &Weights<'_>, tensor: &str, reason: &str) -> Error {
    let file = weights.files().first().cloned().unwrap_or_default();
    Error::Config { file, field: tensor.to_owned(), reason: reason.to_owned() }
}

/// In the order given; a tensor larger than `shard_bytes` has a file of its own.
fn split(items: Vec<Item<'_>>, shard_bytes: u64) -> Vec<Vec<Item<'_>>> {
    let mut shards: Vec<Vec<Item>> = vec![Vec::new()];
    let mut filled = 0;
    for item in items {
        if filled > 0 && filled + item.bytes() > shard_bytes {
            shards.push(Vec::new());
            filled = 0;
        }
        filled += item.bytes();
        if let Some(last) = shards.last_mut() {
            last.push(item);
        }
    }
    shards
}

#[derive(Serialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// The header's JSON, and the items in the order of their data: scales come after everything else.
fn header<'a, 'i>(items: &'i [Item<'a>]) -> (Vec<u8>, Vec<&'i Item<'a>>) {
    let mut ordered: Vec<&Item> = items.iter().collect();
    ordered.sort_by_key(|item| std::cmp::Reverse(item.width()));
    let mut entries = BTreeMap::new();
    let mut described = BTreeMap::new();
    let mut at = 0;
    let mut place = |bytes: u64| {
        at += bytes;
        (at - bytes, at)
    };
    let mut scales = Vec::new();
    for item in &ordered {
        let Some((quant, layout)) = item.packed else {
            let (dtype, shape) = (item.info.dtype.name().to_owned(), item.info.shape.clone());
            entries.insert(item.name.to_owned(), Entry { dtype, shape, data_offsets: place(item.bytes()) });
            continue;
        };
        let [words, scale] = packed::file_shapes(quant, layout);
        let data_offsets = place(4 * layout.words(quant) as u64);
        entries.insert(item.name.to_owned(), Entry { dtype: "U32".into(), shape: words, data_offsets });
        scales.push((format!("{}{SCALE}", item.name), scale, 2 * layout.scales() as u64));
        let axis = usize::from(!item.is_table());
        let shape = item.info.shape.clone();
        described.insert(item.name, Description { quant: quant.name().into(), shape, axis });
    }
    for (name, shape, bytes) in scales {
        entries.insert(name, Entry { dtype: "F16".into(), shape, data_offsets: place(bytes) });
    }
    let mut header = json!(entries);
    let mut metadata = json!({ "format": "pt" });
    if !described.is_empty() {
        metadata[METADATA_KEY] = json!(json!(described).to_string());
    }
    header["__metadata__"] = metadata;
    let mut text = header.to_string().into_bytes();
    text.resize(text.len().next_multiple_of(ALIGNMENT), b' ');
    (text, ordered)
}

async fn write_file(
    weights: &Weights<'_>,
    items: &[Item<'_>],
    path: &str,
    target: &mut dyn Target,
) -> Result<()> {
    let (text, ordered) = header(items);
    target.append(path, &(text.len() as u64).to_le_bytes())?;
    target.append(path, &text)?;
    let mut all_scales = Vec::new();
    for item in ordered {
        let Some((quant, layout)) = item.packed else {
            weights.read_raw(item.name, |bytes| target.append(path, bytes)).await?;
            continue;
        };
        let Packed { words, scales } = read_and_pack(weights, item, quant, layout).await?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        target.append(path, &bytes)?;
        all_scales.extend(scales);
    }
    let bytes: Vec<u8> = all_scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
    target.append(path, &bytes)
}

async fn read_and_pack(
    weights: &Weights<'_>,
    item: &Item<'_>,
    quant: Quant,
    layout: Layout,
) -> Result<Packed> {
    let mut values = weights.read_f32(item.name, &item.info.shape).await?;
    if !values.iter().all(|value| value.is_finite()) {
        return Err(refused(weights, item.name, "holds numbers that are not finite"));
    }
    if item.is_table() {
        values = packed::transposed(&values, layout.channels);
    }
    Ok(pack(quant, layout, &values))
}
