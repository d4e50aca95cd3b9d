//! A model's text encoders with their tokenizers: one, or two in the SDXL family, whose states stand side by side.

use std::rc::Rc;

use burn::tensor::{Device, Tensor};

use super::lora::RunAdapters;
use super::{Description, Encoded, Part};
use crate::error::Result;
use crate::model::adapters::{Adaptable, Adapters};
use crate::model::clip::{ClipTextModel, EncodedText, TextOutput};
use crate::prompt::{self, Chunk, ParsedPrompt};
use crate::tokenizer::Tokenizer;
use crate::weights::Prefer;
use crate::weights::source::Source;

/// The text encoders of a model.
pub(super) struct TextEncoders {
    first: TextEncoder,
    second: Option<TextEncoder>,
}

struct TextEncoder {
    tokenizer: Tokenizer,
    model: ClipTextModel,
}

/// A prompt's chunks for each of the encoders.
pub(super) struct Chunks {
    first: Vec<Chunk>,
    second: Option<Vec<Chunk>>,
}

impl Chunks {
    /// Chunks of the encoder that needs the most.
    pub(super) fn len(&self) -> usize {
        self.first.len().max(self.second.as_ref().map_or(0, Vec::len))
    }

    /// Fills up with `empty` ones.
    pub(super) fn resize(&mut self, length: usize, empty: &Self) {
        fill(&mut self.first, length, &empty.first);
        if let (Some(chunks), Some(empty)) = (&mut self.second, &empty.second) {
            fill(chunks, length, empty);
        }
    }
}

fn fill(chunks: &mut Vec<Chunk>, length: usize, empty: &[Chunk]) {
    let missing = length.saturating_sub(chunks.len());
    chunks.extend(empty.iter().cycle().take(missing).cloned());
}

fn ids(chunks: &[Chunk]) -> Vec<u32> {
    chunks.iter().flat_map(|chunk| chunk.ids.iter().copied()).collect()
}

impl TextEncoders {
    pub(super) async fn load(
        source: &dyn Source,
        prefer: Prefer,
        description: &Description,
        device: &Device,
        report: &mut impl FnMut(Part),
    ) -> Result<Self> {
        report(Part::Tokenizer);
        let (tokenizer, tokenizer_2) = description.tokenizers(source).await?;
        let model = async |part: Part, config, output| {
            ClipTextModel::load(source, part.folder(), prefer, config, output, device).await
        };
        report(Part::TextEncoder);
        let config = description.text_encoder.clone();
        let (Some(tokenizer_2), Some(config_2)) = (tokenizer_2, description.text_encoder_2.clone()) else {
            let model = model(Part::TextEncoder, config, TextOutput::LastHiddenState).await?;
            return Ok(Self { first: TextEncoder { tokenizer, model }, second: None });
        };
        let first = TextEncoder {
            tokenizer,
            model: model(Part::TextEncoder, config, TextOutput::Penultimate).await?,
        };
        report(Part::TextEncoder2);
        let output = TextOutput::PenultimateAndTextEmbeds;
        let model = model(Part::TextEncoder2, config_2, output).await?;
        Ok(Self { first, second: Some(TextEncoder { tokenizer: tokenizer_2, model }) })
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.first.tokenizer
    }

    /// Layers of the first and the second encoder that adapters can stand beside.
    pub(super) fn adaptable(&self) -> (&Adaptable, Option<&Adaptable>) {
        (self.first.model.adaptable(), self.second.as_ref().map(|second| second.model.adaptable()))
    }

    /// Puts adapters beside the layers.
    pub(super) fn install(&self, adapters: &RunAdapters) {
        self.first.model.adaptable().install(&adapters.text_encoder);
        if let Some(second) = &self.second {
            second.model.adaptable().install(&adapters.text_encoder_2);
        }
    }

    pub(super) fn chunks(&self, prompt: &ParsedPrompt) -> Result<Chunks> {
        let of = |encoder: &TextEncoder| prompt::chunks(&prompt.segments, &encoder.tokenizer);
        Ok(Chunks { first: of(&self.first)?, second: self.second.as_ref().map(of).transpose()? })
    }

    /// Encodes chunks of one length for all encoders. The pooled text is that of the first chunk and knows no weights,
    /// as in Stable Diffusion web UI (`modules/sd_hijack_clip.py`).
    pub(super) async fn encode(
        &self,
        source: &dyn Source,
        chunks: &Chunks,
        adapters: &RunAdapters,
    ) -> Result<Encoded> {
        let (embeds, _) = self.first.encode(source, &chunks.first, &adapters.text_encoder).await?;
        let ids_1 = ids(&chunks.first);
        let (Some(second), Some(chunks)) = (&self.second, &chunks.second) else {
            return Ok(Encoded { ids: ids_1, ids_2: None, embeds, text_embeds: None });
        };
        let (embeds_2, text_embeds) = second.encode(source, chunks, &adapters.text_encoder_2).await?;
        let embeds = Tensor::cat(vec![embeds, embeds_2], 2);
        Ok(Encoded { ids: ids_1, ids_2: Some(ids(chunks)), embeds, text_embeds })
    }

    /// What a chunk comes to, computed from no text: for a rehearsal.
    pub(super) fn rehearse(&self, device: &Device) -> Encoded {
        let first = self.first.rehearse(device);
        let Some(second) = self.second.as_ref().map(|second| second.rehearse(device)) else {
            return Encoded { ids: Vec::new(), ids_2: None, embeds: first.hidden_state, text_embeds: None };
        };
        let embeds = Tensor::cat(vec![first.hidden_state, second.hidden_state], 2);
        Encoded { ids: Vec::new(), ids_2: Some(Vec::new()), embeds, text_embeds: second.text_embeds }
    }

    /// Zeros in the shape of `like`, under the ids of `chunks`.
    pub(super) fn zeros(chunks: &Chunks, like: &Encoded) -> Encoded {
        Encoded {
            ids: ids(&chunks.first),
            ids_2: chunks.second.as_deref().map(ids),
            embeds: like.embeds.zeros_like(),
            text_embeds: like.text_embeds.as_ref().map(Tensor::zeros_like),
        }
    }
}

impl TextEncoder {
    fn rehearse(&self, device: &Device) -> EncodedText {
        let shape = [1, self.tokenizer.max_length(), self.model.hidden_size()];
        self.model.encode(Tensor::zeros(shape, device), 0)
    }

    /// States of all chunks, one after the other, and the pooled text of the first.
    async fn encode(
        &self,
        source: &dyn Source,
        chunks: &[Chunk],
        adapters: &Rc<Adapters>,
    ) -> Result<(Tensor<3>, Option<Tensor<3>>)> {
        let mut embeds = Vec::with_capacity(chunks.len());
        let mut text_embeds = None;
        for chunk in chunks {
            let encoded = self.model.forward(source, &chunk.ids, adapters).await?;
            embeds.push(emphasise(encoded.hidden_state, &chunk.weights));
            text_embeds = text_embeds.or(encoded.text_embeds);
        }
        Ok((Tensor::cat(embeds, 1), text_embeds))
    }
}

/// Multiplies every token's row by its weight and restores the mean, as A1111's "original" emphasis does.
fn emphasise(hidden: Tensor<3>, weights: &[f32]) -> Tensor<3> {
    if weights.iter().all(|weight| *weight == 1.0) {
        return hidden;
    }
    let weights = Tensor::<1>::from_floats(weights, &hidden.device()).reshape([1, weights.len(), 1]);
    let mean = hidden.clone().mean().reshape([1, 1, 1]);
    let weighted = hidden * weights;
    let new_mean = weighted.clone().mean().reshape([1, 1, 1]);
    weighted * (mean / new_mean)
}
