//! LoRAs of a loaded model: added and removed while it stays as it is, and put beside its layers run by run.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Pipeline;
use super::lora_fit::{Fitted, Known};
use crate::error::{Error, Result};
use crate::model::adapters::{Adapters, Factors};
use crate::prompt::{LoraTag, ParsedPrompt};
use crate::weights::lora::{LoraFile, LoraLayer, Part, listed};
use crate::weights::source::Source;

/// Most of a LoRA's name, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// A LoRA that fits the model; its numbers stay in its file.
pub(super) struct Lora {
    source: Box<dyn Source>,
    file: LoraFile,
    layers: Vec<Fitted>,
    /// No other has had it, also of those that are gone.
    id: usize,
}

/// What became of a LoRA file's layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoraReport {
    /// Layers of the model that it changes.
    pub layers: usize,
    /// Largest rank.
    pub rank: usize,
    /// What of it is left out, one sentence each.
    pub warnings: Vec<String>,
}

/// A LoRA with its strength.
#[derive(Clone)]
pub(super) struct Chosen {
    lora: Rc<Lora>,
    strength: f32,
}

/// The adapters of a run, for all parts of the model.
#[derive(Debug, Default)]
pub(super) struct RunAdapters {
    pub(super) text_encoder: Rc<Adapters>,
    pub(super) text_encoder_2: Rc<Adapters>,
    pub(super) unet: Rc<Adapters>,
}

/// The LoRAs of a model, and the adapters that the latest run used.
#[derive(Default)]
pub(super) struct Loras {
    by_name: BTreeMap<String, Rc<Lora>>,
    added: usize,
    /// What a LoRA may be for.
    pub(super) layers: Option<Rc<BTreeMap<Part, Known>>>,
    latest: Option<(Key, Rc<RunAdapters>)>,
}

/// Numbers of LoRAs, in the order in which they were added, and their strengths.
type Key = Vec<(usize, f32)>;

impl Pipeline {
    /// Makes the LoRA of the file `path` of `source` known under `name`, in the place of one with the same name. Only its
    /// header is read; prompts with `<lora:name>` read the rest.
    ///
    /// # Errors
    /// [`Error::Lora`] when it does not fit the model, [`Error::Parameter`] for a name that no tag could hold, and those
    /// of [`LoraFile::open`].
    pub async fn add_lora(&self, name: &str, source: Box<dyn Source>, path: &str) -> Result<LoraReport> {
        check_name(name)?;
        let file = LoraFile::open(source.as_ref(), path).await?;
        let (layers, unknown) = self.fit(&file).await?;
        let rank = file.layers().iter().map(|layer| layer.rank).max().unwrap_or_default();
        let mut warnings = Vec::new();
        if !unknown.is_empty() {
            let (count, total, names) = (unknown.len(), file.layers().len(), listed(&unknown));
            warnings.push(format!(
                "{count} of the {total} layers of the LoRA `{name}` are not in this model and are left out: {names}"
            ));
        }
        if !file.others().is_empty() {
            let names = listed(file.others());
            warnings.push(format!("the LoRA `{name}` has tensors that belong to no layer: {names}"));
        }
        self.remove_lora(name);
        let report = LoraReport { layers: layers.len(), rank, warnings };
        let mut loras = self.loras.borrow_mut();
        loras.added += 1;
        let lora = Lora { source, file, layers, id: loras.added };
        loras.by_name.insert(name.to_owned(), Rc::new(lora));
        Ok(report)
    }

    /// Forgets the LoRA `name` and frees its memory; false when there is none. A run that uses it goes on.
    pub fn remove_lora(&self, name: &str) -> bool {
        let mut loras = self.loras.borrow_mut();
        loras.latest = None;
        let removed = loras.by_name.remove(name).is_some();
        drop(loras);
        self.install(&RunAdapters::default());
        removed
    }

    /// Names of the LoRAs that prompts can ask for.
    #[must_use]
    pub fn loras(&self) -> Vec<String> {
        self.loras.borrow().by_name.keys().cloned().collect()
    }

    /// The LoRAs that a prompt asks for, in the order in which they were added. One that it names more than once has the
    /// sum of its strengths; one with strength 0 is none.
    pub(super) fn chosen_loras(&self, prompt: &ParsedPrompt) -> Result<Vec<Chosen>> {
        let mut chosen: BTreeMap<usize, Chosen> = BTreeMap::new();
        for LoraTag { name, strength } in &prompt.loras {
            let loras = self.loras.borrow();
            let lora = loras.by_name.get(name).ok_or_else(|| self.unknown(name))?;
            let new = || Chosen { lora: Rc::clone(lora), strength: 0.0 };
            chosen.entry(lora.id).or_insert_with(new).strength += *strength as f32;
        }
        Ok(chosen.into_values().filter(|chosen| chosen.strength != 0.0).collect())
    }

    fn unknown(&self, name: &str) -> Error {
        let names: Vec<String> = self.loras().iter().map(|name| format!("`{name}`")).collect();
        let known =
            if names.is_empty() { "none is".to_owned() } else { format!("there are {}", names.join(", ")) };
        let name: String = name.chars().take(60).collect();
        Error::Prompt { reason: format!("`<lora:{name}>` names a LoRA that is not loaded; {known}") }
    }

    /// Reads what the chosen LoRAs put beside the model's layers; the latest are kept.
    pub(super) async fn adapters(&self, chosen: &[Chosen]) -> Result<Rc<RunAdapters>> {
        let key: Vec<_> = chosen.iter().map(|Chosen { lora, strength }| (lora.id, *strength)).collect();
        if let Some((latest, adapters)) = &self.loras.borrow().latest
            && *latest == key
        {
            return Ok(Rc::clone(adapters));
        }
        // Their memory first: two sets may not fit.
        self.loras.borrow_mut().latest = None;
        self.install(&RunAdapters::default());
        let adapters = Rc::new(self.read_adapters(chosen).await?);
        self.loras.borrow_mut().latest = Some((key, Rc::clone(&adapters)));
        Ok(adapters)
    }

    async fn read_adapters(&self, chosen: &[Chosen]) -> Result<RunAdapters> {
        let mut parts: BTreeMap<Part, BTreeMap<String, Factors>> = BTreeMap::new();
        for Chosen { lora, strength } in chosen {
            let weights = lora.file.weights(lora.source.as_ref()).await?;
            for Fitted { index, part, module, shape } in &lora.layers {
                let Some(layer) = lora.file.layers().get(*index) else { continue };
                let numbers = Box::pin(lora.file.numbers(&weights, layer, module)).await?;
                let scale = numbers.scale * strength;
                let device = self.hardware.device();
                let factors = Factors::new(*shape, layer.rank, numbers.down, &numbers.up, scale, device);
                let part = parts.entry(*part).or_default();
                let factors = match part.remove(module) {
                    Some(others) => others.beside(factors),
                    None => factors,
                };
                part.insert(module.clone(), factors);
            }
        }
        let mut of = |part| Rc::new(parts.remove(&part).into_iter().flatten().collect());
        Ok(RunAdapters {
            text_encoder: of(Part::TextEncoder),
            text_encoder_2: of(Part::TextEncoder2),
            unet: of(Part::Unet),
        })
    }

    /// Puts adapters beside the layers of the parts that are there.
    pub(super) fn install(&self, adapters: &RunAdapters) {
        self.text_encoders.install(adapters);
        if let Some(unet) = self.unet.get() {
            unet.install(&adapters.unet);
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    let reason = if name.trim().is_empty() || name.trim() != name {
        "must not be empty or begin or end with white space"
    } else if name.len() > MAX_NAME_BYTES || name.contains(|c: char| "<>:".contains(c) || c.is_control()) {
        "must be short, and without `<`, `>` and `:`, to fit in `<lora:name:0.8>`"
    } else {
        return Ok(());
    };
    Err(Error::Parameter { name: "the name of a LoRA".to_owned(), reason: reason.to_owned() })
}

/// Largest rank that all of `chosen` have together in one layer, at most.
pub(super) fn most_rank(chosen: &[Chosen]) -> usize {
    let rank = |layer: &LoraLayer| layer.rank.next_multiple_of(4);
    let of = |chosen: &Chosen| chosen.lora.file.layers().iter().map(rank).max().unwrap_or_default();
    chosen.iter().map(of).sum()
}

/// What decides which pipelines of the GPU the chosen LoRAs need: strengths do not.
pub(super) fn ids(chosen: &[Chosen]) -> Vec<usize> {
    chosen.iter().map(|chosen| chosen.lora.id).collect()
}
