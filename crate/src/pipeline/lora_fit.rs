//! Which layers of a model the layers of a LoRA file are for.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Pipeline;
use crate::error::{Error, Result};
use crate::model::LayerShape;
use crate::model::adapters::Adaptable;
use crate::weights::aliases::same_layout;
use crate::weights::lora::{LayerName, LoraFile, LoraLayer, Part, listed};
use crate::weights::single_file::original_names;

/// A layer of a LoRA, and the layer of the model that it is for.
pub(super) struct Fitted {
    /// Place among the file's layers.
    pub(super) index: usize,
    pub(super) part: Part,
    pub(super) module: String,
    pub(super) shape: LayerShape,
}

impl Pipeline {
    /// Finds the model's layers; the second list names those of the file that the model does not have.
    pub(super) async fn fit(&self, file: &LoraFile) -> Result<(Vec<Fitted>, Vec<String>)> {
        let known = self.known_layers().await?;
        let (mut fitted, mut unknown, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (index, layer) in file.layers().iter().enumerate() {
            let known = known.get(&layer.name.part);
            match known.and_then(|known| known.layer(&layer.name)) {
                Some((module, shape)) => {
                    check_fit(file, layer, shape)?;
                    let (part, module) = (layer.name.part, module.to_owned());
                    if !taken.insert((part, module.clone())) {
                        let reason = format!("has `{module}` twice, under different names");
                        return Err(Error::Lora { file: file.path().to_owned(), reason });
                    }
                    fitted.push(Fitted { index, part, module, shape });
                }
                None if known.is_some_and(|known| known.is_unused(&layer.name)) => {}
                None => unknown.push(layer.down.tensor.clone()),
            }
        }
        if fitted.is_empty() {
            let reason = format!("has no layer that this model has; its layers are {}", listed(&unknown));
            return Err(Error::Lora { file: file.path().to_owned(), reason });
        }
        Ok((fitted, unknown))
    }

    /// The model's layers, found out when the first LoRA comes.
    async fn known_layers(&self) -> Result<Rc<BTreeMap<Part, Known>>> {
        let known = self.loras.borrow().layers.clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let known = Rc::new(self.in_memory(async || self.read_layers().await).await?);
        self.loras.borrow_mut().layers = Some(Rc::clone(&known));
        Ok(known)
    }

    /// One part after the other: where memory is short, none stays for the next.
    async fn read_layers(&self) -> Result<BTreeMap<Part, Known>> {
        let mut known = BTreeMap::new();
        let mut note = |part, adaptable: &Adaptable| known.insert(part, Known::of(adaptable, part));
        self.read_text_encoders().await?;
        let (text_encoder, text_encoder_2) = self.text_encoders.models(&self.files()).await?;
        note(Part::TextEncoder, text_encoder.adaptable());
        if let Some(second) = &text_encoder_2 {
            note(Part::TextEncoder2, second.adaptable());
        }
        drop((text_encoder, text_encoder_2));
        note(Part::Unet, self.unet().await?.adaptable());
        Ok(known)
    }
}

/// The layers of a part of a model, by all their names, each with its own.
pub(super) struct Known {
    dotted: BTreeMap<String, (String, LayerShape)>,
    underscored: BTreeMap<String, (String, LayerShape)>,
    unused: Vec<String>,
}

impl Known {
    fn of(adaptable: &Adaptable, part: Part) -> Self {
        let own = adaptable.layers().map(|(name, shape)| (name.to_owned(), (name.to_owned(), shape)));
        let mut dotted: BTreeMap<_, _> = own.collect();
        if part == Part::Unet {
            let names = original_names(adaptable.layers().map(|(name, _)| name));
            let shapes: BTreeMap<_, _> = adaptable.layers().collect();
            let with_shape =
                |(original, name): (String, &str)| Some((original, (name.to_owned(), *shapes.get(name)?)));
            dotted.extend(names.into_iter().filter_map(with_shape));
        }
        let underscored =
            dotted.iter().map(|(name, layer)| (name.replace('.', "_"), layer.clone())).collect();
        Self { dotted, underscored, unused: adaptable.unused().to_vec() }
    }

    fn layer(&self, name: &LayerName) -> Option<(&str, LayerShape)> {
        let layers = if name.underscored { &self.underscored } else { &self.dotted };
        layers.get(&name.name).map(|(name, shape)| (name.as_str(), *shape))
    }

    fn is_unused(&self, name: &LayerName) -> bool {
        let is_start = |start: &String| {
            let underscored = name.underscored.then(|| start.replace('.', "_"));
            name.name.starts_with(underscored.as_ref().unwrap_or(start))
        };
        self.unused.iter().any(is_start)
    }
}

fn check_fit(file: &LoraFile, layer: &LoraLayer, shape: LayerShape) -> Result<()> {
    let LayerShape { inputs, outputs, kernel } = shape;
    let down = [layer.rank, inputs, kernel, kernel];
    let up = [outputs, layer.rank];
    for (factor, expected) in [(&layer.down, &down[..]), (&layer.up, &up[..])] {
        if !same_layout(expected, &factor.shape) {
            let (tensor, found) = (&factor.tensor, &factor.shape);
            let reason = format!(
                "was made for another family of models{}: its `{tensor}` has shape {found:?}, this model's layer takes \
                 {expected:?}",
                family(file)
            );
            return Err(Error::Lora { file: file.path().to_owned(), reason });
        }
    }
    Ok(())
}

/// The family that a LoRA is for, by the width of the texts that its UNet attends to.
fn family(file: &LoraFile) -> &'static str {
    let attends = |layer: &&LoraLayer| layer.name.name.ends_with("to_k") && layer.name.name.contains("attn2");
    let width = file.layers().iter().find(attends).and_then(|layer| layer.down.shape.get(1));
    match width {
        Some(768) => ", Stable Diffusion 1",
        Some(1024) => ", Stable Diffusion 2",
        Some(2048) => ", SDXL",
        _ => "",
    }
}
