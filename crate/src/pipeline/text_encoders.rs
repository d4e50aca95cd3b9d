//! A model's text encoders with their tokenizers: one, or two in the SDXL family, whose states stand side by side.

use std::rc::Rc;

use burn::tensor::{Device, Tensor};

use super::lora::RunAdapters;
use super::resident::Resident;
use super::{Description, Encoded, Part};
use crate::config::ClipTextConfig;
use crate::error::Result;
use crate::model::adapters::Adapters;
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
    part: Part,
    config: ClipTextConfig,
    output: TextOutput,
    model: Resident<ClipTextModel>,
}

/// Where weights come from and go to.
pub(super) struct Files<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) prefer: Prefer,
    pub(super) device: &'a Device,
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
    /// Reads the tokenizers.
    pub(super) async fn open(
        source: &dyn Source,
        description: &Description,
        report: &mut impl FnMut(Part),
    ) -> Result<Self> {
        report(Part::Tokenizer);
        let (tokenizer, tokenizer_2) = description.tokenizers(source).await?;
        let encoder = |tokenizer, part, config: &ClipTextConfig, output| TextEncoder {
            tokenizer,
            part,
            config: config.clone(),
            output,
            model: Resident::absent(),
        };
        let config = &description.text_encoder;
        let (Some(tokenizer_2), Some(config_2)) = (tokenizer_2, &description.text_encoder_2) else {
            let first = encoder(tokenizer, Part::TextEncoder, config, TextOutput::LastHiddenState);
            return Ok(Self { first, second: None });
        };
        let output_2 = TextOutput::PenultimateAndTextEmbeds;
        Ok(Self {
            first: encoder(tokenizer, Part::TextEncoder, config, TextOutput::Penultimate),
            second: Some(encoder(tokenizer_2, Part::TextEncoder2, config_2, output_2)),
        })
    }

    fn each(&self) -> impl Iterator<Item = &TextEncoder> {
        std::iter::once(&self.first).chain(&self.second)
    }

    /// Reads the weights that are not there.
    pub(super) async fn read(&self, files: &Files<'_>, mut report: impl FnMut(Part)) -> Result<()> {
        for encoder in self.each() {
            report(encoder.part);
            encoder.model(files).await?;
        }
        Ok(())
    }

    /// Forgets the weights.
    pub(super) fn drop_weights(&self) {
        self.each().for_each(|encoder| encoder.model.drop_weights());
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.first.tokenizer
    }

    /// The models of the first and the second encoder, whose layers adapters can stand beside.
    pub(super) async fn models(
        &self,
        files: &Files<'_>,
    ) -> Result<(Rc<ClipTextModel>, Option<Rc<ClipTextModel>>)> {
        let second = match &self.second {
            Some(second) => Some(second.model(files).await?),
            None => None,
        };
        Ok((self.first.model(files).await?, second))
    }

    /// Puts adapters beside the layers that are there; others get theirs when they are used.
    pub(super) fn install(&self, adapters: &RunAdapters) {
        if let Some(model) = self.first.model.get() {
            model.adaptable().install(&adapters.text_encoder);
        }
        if let Some(model) = self.second.as_ref().and_then(|second| second.model.get()) {
            model.adaptable().install(&adapters.text_encoder_2);
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
        files: &Files<'_>,
        chunks: &Chunks,
        adapters: &RunAdapters,
    ) -> Result<Encoded> {
        let (embeds, _) = self.first.encode(files, &chunks.first, &adapters.text_encoder).await?;
        let ids_1 = ids(&chunks.first);
        let (Some(second), Some(chunks)) = (&self.second, &chunks.second) else {
            return Ok(Encoded { ids: ids_1, ids_2: None, embeds, text_embeds: None });
        };
        let (embeds_2, text_embeds) = second.encode(files, chunks, &adapters.text_encoder_2).await?;
        let embeds = Tensor::cat(vec![embeds, embeds_2], 2);
        Ok(Encoded { ids: ids_1, ids_2: Some(ids(chunks)), embeds, text_embeds })
    }

    /// What a chunk comes to, computed from no text: for a rehearsal. `None` while the weights are not there.
    pub(super) fn rehearse(&self, device: &Device) -> Option<Encoded> {
        let first = self.first.rehearse(device)?;
        let Some(second) = &self.second else {
            let embeds = first.hidden_state;
            return Some(Encoded { ids: Vec::new(), ids_2: None, embeds, text_embeds: None });
        };
        let second = second.rehearse(device)?;
        let embeds = Tensor::cat(vec![first.hidden_state, second.hidden_state], 2);
        Some(Encoded { ids: Vec::new(), ids_2: Some(Vec::new()), embeds, text_embeds: second.text_embeds })
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
    async fn model(&self, files: &Files<'_>) -> Result<Rc<ClipTextModel>> {
        let Files { source, prefer, device } = *files;
        let config = self.config.clone();
        let read = ClipTextModel::load(source, self.part.folder(), prefer, config, self.output, device);
        self.model.or_read(read).await
    }

    fn rehearse(&self, device: &Device) -> Option<EncodedText> {
        let shape = [1, self.tokenizer.max_length(), self.config.hidden_size];
        Some(self.model.get()?.encode(Tensor::zeros(shape, device), 0))
    }

    /// States of all chunks, one after the other, and the pooled text of the first.
    async fn encode(
        &self,
        files: &Files<'_>,
        chunks: &[Chunk],
        adapters: &Rc<Adapters>,
    ) -> Result<(Tensor<3>, Option<Tensor<3>>)> {
        let model = self.model(files).await?;
        let mut embeds = Vec::with_capacity(chunks.len());
        let mut text_embeds = None;
        for chunk in chunks {
            let encoded = model.forward(files.source, &chunk.ids, adapters).await?;
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
