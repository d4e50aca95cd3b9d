//! From prompts to the UNet's text input.

use burn::tensor::Tensor;

use super::Pipeline;
use crate::error::Result;
use crate::prompt::{self, Chunk};

/// One prompt's tokens and embeddings.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Framed token ids, chunk after chunk.
    pub ids: Vec<u32>,
    /// `[1, ids.len(), hidden_size]`.
    pub embeds: Tensor<3>,
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
}

impl PromptEmbeds {
    /// `[b, tokens, hidden_size]`, the negative prompt first, as diffusers orders a guided batch.
    #[must_use]
    pub fn batch(&self) -> Tensor<3> {
        let prompt = self.prompt.embeds.clone();
        match &self.negative {
            Some(negative) => Tensor::cat(vec![negative.embeds.clone(), prompt], 0),
            None => prompt,
        }
    }
}

impl Pipeline {
    /// Encodes a prompt and, for guidance, a negative prompt. The shorter of the two is filled up with empty chunks.
    ///
    /// # Errors
    /// [`crate::error::Error::Prompt`], and those of reading the token embedding.
    pub async fn encode(&self, prompt: &str, negative_prompt: Option<&str>) -> Result<PromptEmbeds> {
        let mut warnings = Vec::new();
        let mut prompt = self.chunks(prompt, &mut warnings)?;
        let Some(negative_prompt) = negative_prompt else {
            return Ok(PromptEmbeds { prompt: self.encode_chunks(&prompt).await?, negative: None, warnings });
        };
        let mut negative = self.chunks(negative_prompt, &mut warnings)?;
        let empty = self.chunks("", &mut warnings)?;
        let longest = prompt.len().max(negative.len());
        prompt.extend(empty.iter().cycle().take(longest - prompt.len()).cloned());
        negative.extend(empty.iter().cycle().take(longest - negative.len()).cloned());
        Ok(PromptEmbeds {
            prompt: self.encode_chunks(&prompt).await?,
            negative: Some(self.encode_chunks(&negative).await?),
            warnings,
        })
    }

    fn chunks(&self, text: &str, warnings: &mut Vec<String>) -> Result<Vec<Chunk>> {
        let parsed = prompt::parse(text)?;
        warnings.extend(parsed.warnings);
        prompt::chunks(&parsed.segments, &self.tokenizer)
    }

    async fn encode_chunks(&self, chunks: &[Chunk]) -> Result<Encoded> {
        let mut ids = Vec::new();
        let mut embeds = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let hidden = self.text_encoder.forward(self.source.as_ref(), &chunk.ids).await?;
            embeds.push(emphasise(hidden, &chunk.weights));
            ids.extend(&chunk.ids);
        }
        Ok(Encoded { ids, embeds: Tensor::cat(embeds, 1) })
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
