//! Writing weights packed: a whole part of a model from its source ([`pack_part`]), or one file as its bytes arrive
//! ([`transcoder::Transcoder`]). Both give the same tensors.

mod recipe;
#[cfg(test)]
mod tests;
pub mod transcoder;
mod writer;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::convert::is_unreadable_weight;
use super::source::{LocalBoxFuture, MemorySource, Source, check_path};
use super::{Entry, Prefer, Weights, pieces};
use crate::error::{Error, Result};
use crate::quantization::{Layout, Policy, Quant};
use recipe::{Item, Recipe, Step};
use writer::Writer;

/// Most bytes of a packed tensor, which is held until it is whole; a larger one stays as it is. The largest in use, the
/// token embedding of SDXL, has 67 MB at 8 bits.
const MAX_PACKED_BYTES: usize = 128 << 20;

/// Where files are written to.
pub trait Target {
    /// Appends to the file `path`, which begins empty. Files are written one after the other.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn append(&mut self, path: &str, bytes: &[u8]) -> Result<()>;

    /// Whether the file is there, whole, from an earlier time.
    fn has(&self, _path: &str) -> bool {
        false
    }
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
    let (numbers, bytes) = (shape.iter().product::<usize>(), layout.bytes(quant));
    (bytes < 2 * numbers && bytes <= MAX_PACKED_BYTES).then_some((quant, layout))
}

/// Writes the weights of the part `folder`, packed by `policy`, under the names of diffusers: one file, or shards of at
/// most `shard_bytes` where tensors allow it, and their index. Tensors come in the order in which the source has them.
/// Files that the target has are not written again.
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
        let reason = "is packed already: pack the model that it was made from";
        return Err(refused(weights.place(tensor), tensor, reason));
    }
    write_part(&weights, folder, policy, shard_bytes, target).await
}

/// As [`pack_part`], but takes the smaller variant where there are two, as downloads do, and copies weights that are
/// packed already.
///
/// # Errors
/// Those of [`pack_part`].
pub async fn import_part(
    source: &dyn Source,
    folder: &str,
    policy: &Policy,
    shard_bytes: u64,
    target: &mut dyn Target,
) -> Result<()> {
    let weights = Weights::open(source, folder, Prefer::Half).await?;
    if weights.packed().next().is_none() {
        return write_part(&weights, folder, policy, shard_bytes, target).await;
    }
    let index = Some(&weights.place).filter(|place| place.ends_with(".json"));
    for path in weights.files.iter().chain(index) {
        let size = source.size(path).await?.ok_or_else(|| Error::FileNotFound { file: path.clone() })?;
        for piece in pieces(0..size).filter(|_| !target.has(path)).collect::<Vec<_>>() {
            target.append(path, &source.read(path, piece).await?)?;
        }
    }
    Ok(())
}

async fn write_part(
    weights: &Weights<'_>,
    folder: &str,
    policy: &Policy,
    shard_bytes: u64,
    target: &mut dyn Target,
) -> Result<()> {
    let item = |(name, entry): (&String, &Entry)| (entry.file, Item::new(policy, folder, name, &entry.info));
    let mut items: Vec<(usize, Item)> = weights.entries.iter().map(item).collect();
    items.sort_by_key(|(file, item)| (*file, item.info.range.start, item.info.range.end));
    let items: Vec<Item> = items.into_iter().map(|(_, item)| item).collect();
    check(&weights.place, &items)?;
    write_shards(weights, folder, split(items, shard_bytes), target).await
}

async fn write_shards(
    weights: &Weights<'_>,
    folder: &str,
    shards: Vec<Vec<Item>>,
    target: &mut dyn Target,
) -> Result<()> {
    let stem = if folder.starts_with("text_encoder") { "model" } else { "diffusion_pytorch_model" };
    let count = shards.len();
    let (mut weight_map, mut total_size) = (BTreeMap::new(), 0);
    for (i, shard) in shards.into_iter().enumerate() {
        let name = match count {
            1 => format!("{stem}.safetensors"),
            _ => format!("{stem}-{:05}-of-{count:05}.safetensors", i + 1),
        };
        for item in &shard {
            let names = [Some(item.name.clone()), item.scale()];
            weight_map.extend(names.into_iter().flatten().map(|tensor| (tensor, name.clone())));
            total_size += item.bytes();
        }
        let path = format!("{folder}/{name}");
        if !target.has(&path) {
            write_file(weights, Recipe::new(shard, None), &path, target).await?;
        }
    }
    let path = format!("{folder}/{stem}.safetensors.index.json");
    if count > 1 && !target.has(&path) {
        let index = json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
        target.append(&path, format!("{index:#}\n").as_bytes())?;
    }
    Ok(())
}

async fn write_file(
    weights: &Weights<'_>,
    recipe: Recipe,
    path: &str,
    target: &mut dyn Target,
) -> Result<()> {
    target.append(path, &recipe.header)?;
    for Step { item, .. } in &recipe.steps {
        let mut writer = Writer::new(weights.place(&item.name), item);
        let mut drain = |writer: &mut Writer| {
            while let Some(bytes) = writer.take() {
                target.append(path, &bytes)?;
            }
            Ok(())
        };
        let push = |bytes: &[u8]| {
            writer.push(bytes)?;
            drain(&mut writer)
        };
        weights.read_raw(&item.name, push).await?;
        writer.finish()?;
        drain(&mut writer)?;
    }
    Ok(())
}

/// Refuses weights in formats that cannot be read, which would otherwise be found out when all of them had been fetched,
/// and tensors one of which has the name of another's scales.
fn check(file: &str, items: &[Item]) -> Result<()> {
    if let Some(item) = items.iter().find(|item| is_unreadable_weight(&item.name, &item.info.dtype)) {
        let (tensor, dtype) = (item.name.clone(), item.info.dtype.name().to_owned());
        return Err(Error::UnsupportedDtype { file: file.to_owned(), tensor, dtype });
    }
    let names: BTreeSet<&str> = items.iter().map(|item| item.name.as_str()).collect();
    match items.iter().find(|item| item.scale().is_some_and(|scale| names.contains(scale.as_str()))) {
        Some(item) => {
            Err(refused(file, &item.name, "has a neighbour with the name that its scales would get"))
        }
        None => Ok(()),
    }
}

fn refused(file: &str, tensor: &str, reason: &str) -> Error {
    Error::Config { file: file.to_owned(), field: tensor.to_owned(), reason: reason.to_owned() }
}

/// In the order given; a tensor larger than `shard_bytes` has a file of its own.
fn split(items: Vec<Item>, shard_bytes: u64) -> Vec<Vec<Item>> {
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
