"""Stage `sharpen`: the decoder alone, for sharper pictures of what the student draws. Latents stay what they are: any UNet
for them fits as before.

Nobody knows what picture the student has in mind; the render nearest to it is like it, but not at each pixel. So its slopes
count: the steepest near every place, and their sum there. A decoder that only sees pixels draws slow slopes in place of
edges that may lie a little further on.
"""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from . import drawn
from .autoencoder import CROPPED, cropped, cropped_both, held_out, psnr, reconstruction_loss, slopes
from .loop import Stage
from .whole import astray, picture_losses
from .work import Work

# Of what the student draws: pixels count less, since they may lie elsewhere.
LIKENESS, SLOPES = 0.5, 1.0
# Pixels that are near each other.
NEAR = 8
# What changes in the weights is taken by half (arXiv:2109.01903): all of it draws fine grids where it knows no better, and
# costs four times the PSNR.
TAKEN = 0.5


def slopes_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """How far the steepest slopes near places are apart, which blur makes less, and means, which rings make more."""
    found, wanted = slopes(found), slopes(wanted)
    pools = (F.max_pool2d, F.avg_pool2d)
    steepest, mean = (pool(found, NEAR, NEAR // 2) - pool(wanted, NEAR, NEAR // 2) for pool in pools)
    return steepest.abs().mean() + 2 * mean.abs().mean()


def train(work: Work) -> None:
    """Trains the decoder on what the student draws, beside renders, and saves the autoencoder with it."""
    preset, batch = work.preset, work.preset.sharpen.training.batch
    model, renderer, own = work.autoencoder(), work.renderer(), drawn.read(work)
    decoder = nn.ModuleList([model.post_quant_conv, model.decoder]).requires_grad_(True)
    decoder.to(memory_format=torch.channels_last)
    before = copy.deepcopy(decoder).requires_grad_(False)
    stage = Stage("sharpen", work.folder, preset.sharpen.training, {"decoder": decoder})
    scenes, validation = work.data.scenes(work.seeded(stage.step)), held_out(work)
    deviation = 1 / model.config.scaling_factor

    def loss() -> dict[str, Tensor]:
        side = preset.autoencoder.crop if stage.fraction < CROPPED else preset.size
        renders = cropped(renderer.pictures([scenes.scene() for _ in range(batch)]), side)
        with torch.no_grad():
            latents = astray(model.encode(renders).latent_dist.mean.float(), deviation)
        which = torch.randint(0, len(own.latents), (batch,), device=work.device)
        pictures = own.pictures[which].float() / 127.5 - 1
        some, near = cropped_both(own.latents[which] * deviation, pictures, side)
        found, likely = model.decode(torch.cat([latents, some])).sample.float().split(batch)
        return picture_losses(found, renders) | {
            "likeness": LIKENESS * reconstruction_loss(likely, near),
            "slopes": SLOPES * slopes_loss(likely, near),
        }

    def averaged() -> nn.Module:
        """With a part of what has changed in the weights."""
        best, mixed = copy.deepcopy(model), copy.deepcopy(before)
        torch._foreach_lerp_(list(mixed.parameters()), list(stage.averages["decoder"].parameters()), TAKEN)
        best.post_quant_conv, best.decoder = mixed
        return best

    stage.train(loss, work.deadline, lambda: f"PSNR {psnr(averaged(), validation):.2f} dB")
    averaged().save_pretrained(work.model / "vae")
    stage.forget()
