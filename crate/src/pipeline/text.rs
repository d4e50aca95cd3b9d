//! From prompts to the UNet's text input.

use std::rc::Rc;

use burn::tensor::Tensor;

use super::Pipeline;
use super::lora::RunAdapters;
use super::text_encoders::{Chunks, TextEncoders};
use crate::error::Result;
use crate::model::AddedCond;
use crate::prompt::{self, LoraTag, ParsedPrompt};

/// One prompt's tokens and embeddings.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Framed token ids, chunk after chunk.
    pub ids: Vec<u32>,
    /// Those of the second tokenizer, in the SDXL family; as many.
    pub ids_2: Option<Vec<u32>>,
    /// `[1, ids.len(), cross_attention_dim]`.
    pub embeds: Tensor<3>,
    /// The pooled and projected text, `[1, 1, projection_dim]`, in the SDXL family.
    pub text_embeds: Option<Tensor<3>>,
}

/// What the UNet is conditioned on.
#[derive(Debug, Clone)]
pub struct PromptEmbeds {
    /// The prompt.
    pub prompt: Encoded,
    /// The negative prompt, where guidance needs it; as long as the prompt.
    pub negative: Option<Encoded>,
    /// What of the prompts was left out, one sentence each.
    pub warnings: Vec<String>,
    /// What the prompt's LoRAs put beside the model's layers.
    pub(super) adapters: Rc<RunAdapters>,
}

impl PromptEmbeds {
    /// `[b, tokens, cross_attention_dim]`, the negative prompt first, as diffusers orders a guided batch.
    #[must_use]
    pub fn batch(&self) -> Tensor<3> {
        Tensor::cat(self.in_order().map(|encoded| encoded.embeds.clone()).collect(), 0)
    }

    /// What SDXL's UNet is told beside the prompts: their pooled texts in the same order, and that the picture, of
    /// `height` x `width` pixels, is whole and was never larger. `None` for other families.
    #[must_use]
    pub fn added_cond(&self, height: usize, width: usize) -> Option<AddedCond> {
        let texts: Option<Vec<_>> = self.in_order().map(|encoded| encoded.text_embeds.clone()).collect();
        let [height, width] = [height as f64, width as f64];
        let time_ids = [height, width, 0.0, 0.0, height, width];
        Some(AddedCond { text_embeds: Tensor::cat(texts?, 0), time_ids })
    }

    fn in_order(&self) -> impl Iterator<Item = &Encoded> {
        self.negative.iter().chain(std::iter::once(&self.prompt))
    }
}

impl Pipeline {
    /// Encodes a prompt and, for guidance, a negative prompt. The shorter of the two is filled up with empty chunks.
    /// In place of an empty negative prompt SDXL's models get zeros, where they ask for that.
    ///
    /// # Errors
    /// [`crate::error::Error::Prompt`], and those of reading the LoRAs and the token embedding.
    pub async fn encode(&self, prompt: &str, negative_prompt: Option<&str>) -> Result<PromptEmbeds> {
        self.read_text_encoders().await?;
        let (files, encoders) = (self.files(), &self.text_encoders);
        let (prompt, negative) = (prompt::parse(prompt)?, negative_prompt.map(prompt::parse).transpose()?);
        let adapters = self.adapters(&self.chosen_loras(&prompt)?).await?;
        let warnings = warnings(&prompt, negative.as_ref());
        let mut prompt = encoders.chunks(&prompt)?;
        let empty = encoders.chunks(&ParsedPrompt::default())?;
        let mut negative = negative.as_ref().map(|parsed| encoders.chunks(parsed)).transpose()?;
        let longest = prompt.len().max(negative.as_ref().map_or(0, Chunks::len));
        prompt.resize(longest, &empty);
        let prompt = encoders.encode(&files, &prompt, &adapters).await?;
        if let Some(chunks) = &mut negative {
            chunks.resize(longest, &empty);
        }
        let zeros = negative_prompt == Some("") && self.description.index.force_zeros_for_empty_prompt();
        let negative = match &negative {
            Some(chunks) if zeros => Some(TextEncoders::zeros(chunks, &prompt)),
            Some(chunks) => Some(encoders.encode(&files, chunks, &adapters).await?),
            None => None,
        };
        Ok(PromptEmbeds { prompt, negative, warnings, adapters })
    }
}

/// What of the prompts is left out. LoRAs are the prompt's: both halves of a guided batch go through one model.
fn warnings(prompt: &ParsedPrompt, negative: Option<&ParsedPrompt>) -> Vec<String> {
    let mut warnings = prompt.warnings.clone();
    let Some(negative) = negative else { return warnings };
    warnings.extend(negative.warnings.iter().cloned());
    for LoraTag { name, .. } in &negative.loras {
        warnings
            .push(format!("`<lora:{name}>` has no effect in the negative prompt: write it in the prompt"));
    }
    warnings
}
