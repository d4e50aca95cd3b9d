//! What a request comes to on a model: sizes, guidance and the sampler's calls.

use super::lora::{Chosen, most_rank};
use super::{InitImage, Pipeline, Request};
use crate::error::{Error, Result};
use crate::kernel::{Storage, most_bytes};
use crate::prompt;
use crate::sampler::{self, Sampler, SamplerKind, Span};

/// A checked request, without its prompts' texts.
pub(super) struct Plan {
    /// Of the latents.
    pub(super) height: usize,
    /// Of the latents.
    pub(super) width: usize,
    pub(super) sampler: Sampler,
    /// Whether each call is made for the prompt and the negative prompt.
    pub(super) guided: bool,
    /// What the prompt asks for.
    pub(super) loras: Vec<Chosen>,
    /// The request's, or a blank one for a model that cannot do without.
    pub(super) init_image: Option<InitImage>,
}

impl Plan {
    /// Checks a request.
    pub(super) fn new(pipeline: &Pipeline, request: &Request) -> Result<Self> {
        let description = pipeline.description();
        let (height, width) = request.check(description.sizes(), description.vae.latent_channels())?;
        let kind = request.sampler.or_else(|| description.sampler());
        let blank = || description.inpaints().then(|| InitImage::blank(request.width, request.height));
        let init_image = request.init_image.clone().or_else(blank);
        let in_schedule = kind == Some(SamplerKind::Lcm) && description.guidance_is_embedded();
        let span = span(init_image.as_ref(), request.steps, in_schedule);
        let sampler = sampler::build(kind, &description.scheduler, request.steps, span)?;
        let guided = request.guidance_scale > 1.0 && !description.guidance_is_embedded();
        let loras = pipeline.chosen_loras(&prompt::parse(&request.prompt)?)?;
        let channels = &description.unet.block_out_channels;
        check_memory(pipeline, largest_activation(channels, height * width, guided, most_rank(&loras)))?;
        Ok(Self { height, width, sampler, guided, loras, init_image })
    }
}

/// The steps to make over a picture. Consistency models have so few that `strength` chooses among their timesteps instead,
/// `in_schedule`, as in diffusers' `LatentConsistencyModelImg2ImgPipeline`.
fn span(init_image: Option<&InitImage>, steps: usize, in_schedule: bool) -> Span {
    match init_image {
        None => Span::All,
        Some(init_image) if in_schedule => Span::Below(init_image.strength),
        // Rounded down, as by Python's `int`.
        Some(init_image) => Span::From(steps - ((steps as f64 * init_image.strength) as usize).min(steps)),
    }
}

/// Numbers of the largest activation in a call of the UNet: where the way up meets the first kept results, or inside of
/// LoRAs of this rank.
fn largest_activation(block_out_channels: &[usize], pixels: usize, guided: bool, rank: usize) -> u64 {
    let channels: usize = block_out_channels.iter().take(2).sum();
    (1 + u64::from(guided)) * pixels as u64 * channels.max(rank) as u64
}

/// Refuses an activation of so many numbers if it is more than the device takes.
fn check_memory(pipeline: &Pipeline, numbers: u64) -> Result<()> {
    let storage = Storage::beside(&pipeline.picture_map);
    let needed = numbers * storage.dtype().size() as u64;
    let most = most_bytes(&pipeline.picture_map);
    if needed > most {
        let mebibytes = |bytes: u64| bytes >> 20;
        let reason = format!(
            "this size needs a tensor of {} MiB, {} takes {}",
            mebibytes(needed),
            pipeline.hardware.name(),
            mebibytes(most)
        );
        return Err(Error::OutOfMemory { reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_guided_calls_are_made_for_two_prompts() {
        let channels = [320, 640, 1280, 1280];
        assert_eq!(largest_activation(&channels, 64 * 64, false, 0), 64 * 64 * 960);
        assert_eq!(largest_activation(&channels, 64 * 64, true, 16), 2 * 64 * 64 * 960);
        assert_eq!(largest_activation(&channels, 64 * 64, false, 1024), 64 * 64 * 1024);
    }
}
