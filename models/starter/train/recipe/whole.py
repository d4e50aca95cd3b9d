"""Stage `whole`: the autoencoder once more, on whole pictures and from latents that are a little off, as a UNet's are.

The encoder has most to learn. With the decoder of before, latents that were sought picture by picture came 2.9 dB nearer to
the pictures than the encoder's own. Latents stay near what they were, so that a UNet for those has little to learn anew.
"""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from .autoencoder import held_out, psnr, reconstruction_loss
from .loop import Stage
from .work import Work

# Of renders: what PSNR counts, beside the edges that eyes see.
SQUARES = 12.0
# Latents that a UNet predicts are a little off, which a decoder that never saw any such draws as blotches and frayed
# edges. Noise of up to this part of their deviation stands for that.
ASTRAY = 0.2
# What it costs to move latents, whose variance is one in this.
STAY = 0.2
# The decoder learns at this part of the encoder's rate.
DECODER_RATE = 0.5


def astray(latents: Tensor, deviation: float) -> Tensor:
    """Latents off by noise, each picture's by another amount, most of them by little."""
    amounts = torch.rand(len(latents), 1, 1, 1, device=latents.device).square()
    return latents + ASTRAY * deviation * amounts * torch.randn_like(latents)


def picture_losses(found: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    return {
        "picture": reconstruction_loss(found, wanted),
        "squares": SQUARES * F.mse_loss(found, wanted),
    }


def losses(model: AutoencoderKL, before: AutoencoderKL, pictures: Tensor) -> dict[str, Tensor]:
    """Of `model`, which was `before` and shall have nearly its latents."""
    with torch.no_grad():
        stayed = before.encode(pictures).latent_dist.mean.float()
    latents = model.encode(pictures).latent_dist.mean.float()
    deviation = 1 / before.config.scaling_factor
    found = model.decode(astray(latents, deviation)).sample.float()
    return picture_losses(found, pictures) | {"moved": STAY * F.mse_loss(latents, stayed) / deviation**2}


def train(work: Work) -> None:
    """Trains the autoencoder on and saves it, with the scale that it has."""
    before, renderer = work.autoencoder(), work.renderer()
    model = copy.deepcopy(before).requires_grad_(True)
    encoder = nn.ModuleList([model.encoder, model.quant_conv])
    decoder = nn.ModuleList([model.post_quant_conv, model.decoder])
    for network in (before, encoder, decoder):
        network.to(memory_format=torch.channels_last)
    modules = {"encoder": encoder, "decoder": decoder}
    stage = Stage("whole", work.folder, work.preset.whole, modules, {"decoder": DECODER_RATE})
    scenes, validation = work.data.scenes(work.seeded(stage.step)), held_out(work)

    def loss() -> dict[str, Tensor]:
        return losses(model, before, renderer.pictures([scenes.scene() for _ in range(work.preset.whole.batch)]))

    def averaged() -> nn.Module:
        best = copy.deepcopy(before)
        best.encoder, best.quant_conv = stage.averages["encoder"]
        best.post_quant_conv, best.decoder = stage.averages["decoder"]
        return best

    stage.train(loss, work.deadline, lambda: f"PSNR {psnr(averaged(), validation):.2f} dB")
    averaged().save_pretrained(work.model / "vae")
    stage.forget()
