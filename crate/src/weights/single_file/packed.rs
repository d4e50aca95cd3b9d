//! Checkpoints that were packed: one file with all weights under the names of diffusers, `PART/NAME`, and with the configs
//! that were inferred before packing in its metadata.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::checkpoint::Checkpoint;
use super::folder::{Folder, decided};
use super::part::{PartFile, Renamed};
use super::scheduler::{self, Prediction};
use super::{Companions, TEXTS};
use crate::error::{Error, Result};
use crate::weights::packed;
use crate::weights::safetensors::{Header, TensorInfo};
use crate::weights::source::Source;

/// Key of the metadata entry; its value is a JSON object, [`Contents`].
pub(in crate::weights) const METADATA_KEY: &str = "checkpoint";

/// Where each part's weights are shown.
const PARTS: [&str; 4] = [
    "text_encoder/model.safetensors",
    "text_encoder_2/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
];

/// What the metadata say of a packed checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// Configs by path, of a model that predicts the noise.
    epsilon: BTreeMap<String, Value>,
    /// The same of one that predicts the velocity.
    v_prediction: BTreeMap<String, Value>,
    /// Which of them it is, by its diffusers name; absent where the numbers of a tensor tell.
    prediction: Option<String>,
    /// Name of that tensor.
    told_by: Option<String>,
}

/// What the metadata of a file say, if it is a packed checkpoint.
///
/// # Errors
/// [`Error::Safetensors`] for an entry that does not parse.
pub(super) fn contents(file: &str, header: &Header) -> Result<Option<Contents>> {
    let Some(text) = header.metadata.get(METADATA_KEY) else { return Ok(None) };
    let parsed = serde_json::from_str(text).map_err(|error| {
        damaged(file, format!("its metadata entry `{METADATA_KEY}` does not parse: {error}"))
    })?;
    Ok(Some(parsed))
}

fn damaged(file: &str, reason: String) -> Error {
    Error::Safetensors { file: file.to_owned(), reason }
}

impl Contents {
    /// The folder that the checkpoint would have been shown as before it was packed.
    ///
    /// # Errors
    /// [`Error::Safetensors`] for tensors of no part; those of the source.
    pub(super) async fn folder(
        mut self,
        checkpoint: &Checkpoint<'_>,
        source: &dyn Source,
        companions: &Companions,
    ) -> Result<Folder> {
        let named = self.prediction.as_deref().and_then(Prediction::from_name);
        let prediction = match companions.prediction.or(named) {
            Some(prediction) => prediction,
            None => {
                let told = self.told_by.as_ref().and_then(|name| checkpoint.header.tensors.get(name));
                scheduler::by_numbers(source, checkpoint.file, told).await?
            }
        };
        let texts = match prediction {
            Prediction::Epsilon => &mut self.epsilon,
            Prediction::Velocity => &mut self.v_prediction,
        };
        let text = |path: &'static str| Some((path, texts.remove(path)?.to_string().into_bytes()));
        let mut folder =
            Folder { parts: parts(checkpoint)?, texts: TEXTS.into_iter().filter_map(text).collect() };
        folder.tokenizers(&companions.merges)?;
        Ok(folder)
    }
}

fn parts(checkpoint: &Checkpoint<'_>) -> Result<BTreeMap<&'static str, PartFile>> {
    let Checkpoint { file, header } = *checkpoint;
    let mut tensors: BTreeMap<&'static str, Vec<Renamed>> = BTreeMap::new();
    for (name, info) in &header.tensors {
        let (path, name) = place(name).ok_or_else(|| damaged(file, format!("`{name}` is of no part")))?;
        tensors.entry(path).or_default().push(Renamed::whole(name, info));
    }
    let mut described: BTreeMap<&'static str, BTreeMap<&str, Value>> = BTreeMap::new();
    let descriptions = packed::descriptions(file, header)?;
    for (name, description) in &descriptions {
        if let Some((path, name)) = place(name) {
            described.entry(path).or_default().insert(name, json!(description));
        }
    }
    let part = |(path, tensors)| {
        let metadata = described
            .get(path)
            .map(|described| json!({ "format": "pt", packed::METADATA_KEY: json!(described).to_string() }));
        Ok((path, PartFile::new(file, tensors, metadata)?))
    };
    tensors.into_iter().map(part).collect()
}

/// The file that shows the tensor `PART/NAME`, and its name there.
fn place(tensor: &str) -> Option<(&'static str, &str)> {
    let (part, name) = tensor.split_once('/')?;
    let path = PARTS.into_iter().find(|path| path.split('/').next() == Some(part))?;
    Some((path, name))
}

/// A checkpoint as it can be packed: what its header is enough to know.
pub(in crate::weights) struct Packable {
    /// The tensors that a model is made of, with their parts.
    pub(in crate::weights) tensors: Vec<(&'static str, Renamed)>,
    /// Value of the metadata entry [`METADATA_KEY`].
    pub(in crate::weights) contents: String,
}

impl Packable {
    /// Of the file `file` with this header.
    ///
    /// # Errors
    /// As [`super::SingleFileSource::open`].
    pub(in crate::weights) fn new(file: &str, header: &Header) -> Result<Self> {
        let checkpoint = Checkpoint { file, header };
        let decided = decided(&checkpoint)?;
        let [noise, velocity] = [
            Folder::predicting(&checkpoint, Prediction::Epsilon)?,
            Folder::predicting(&checkpoint, Prediction::Velocity)?,
        ];
        let parts = noise.parts.iter().filter_map(|(path, part)| Some((path.split('/').next()?, part)));
        let of_part = |(part, file): (&'static str, &PartFile)| {
            file.tensors().iter().cloned().map(|tensor| (part, tensor)).collect::<Vec<_>>()
        };
        let tensors: Vec<_> = parts.flat_map(of_part).collect();
        let telling = scheduler::telling(&checkpoint).filter(|_| decided.is_none());
        let is_it = |info: &TensorInfo, tensor: &Renamed| tensor.info().range == info.range;
        let renamed = telling.and_then(|(_, info)| tensors.iter().find(|(_, tensor)| is_it(info, tensor)));
        let contents = Contents {
            epsilon: documents(&noise),
            v_prediction: documents(&velocity),
            prediction: decided.map(|prediction| prediction.name().to_owned()),
            told_by: renamed.map(|(part, tensor)| format!("{part}/{}", tensor.name())),
        };
        Ok(Self { tensors, contents: json!(contents).to_string() })
    }
}

fn documents(folder: &Folder) -> BTreeMap<String, Value> {
    let document =
        |(path, text): (&&str, &Vec<u8>)| Some(((*path).to_owned(), serde_json::from_slice(text).ok()?));
    folder.texts.iter().filter_map(document).collect()
}
