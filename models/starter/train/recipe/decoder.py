"""Stage `decoder`: latents to pictures once more, for sharper pictures. Latents stay what they are: any UNet for them fits
as before.

The decoder learns from renders' own latents and from what the student draws. Nobody knows what picture that is; the render
nearest to it is like it, but not at each pixel. So its slopes count, too: the steepest near every place, and their sum there.
A decoder that only sees pixels draws slow slopes in place of edges that may lie a little further on.
"""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from . import drawn
from .autoencoder import CROPPED, VALIDATION_PICTURES, cropped, psnr, reconstruction_loss
from .loop import Stage
from .work import Work

# Of renders: what PSNR counts, beside the edges that eyes see.
SQUARES = 4.0
# Latents that a UNet predicts are a little off, which a decoder that never saw any such draws as blotches and frayed
# edges. Noise of up to this part of their deviation stands for that.
ASTRAY = 0.2
# Of what the student draws: pixels count less, since they may lie elsewhere.
LIKENESS, SLOPES = 0.5, 1.0
# Pixels that are near each other.
NEAR = 8
# What the stage changes in the weights is taken by half (arXiv:2109.01903): all of it draws fine grids where it knows no
# better, and costs four times the PSNR.
TAKEN = 0.5


def astray(latents: Tensor, deviation: float) -> Tensor:
    """Latents off by noise, each picture's by another amount, most of them by little."""
    amounts = torch.rand(len(latents), 1, 1, 1, device=latents.device).square()
    return latents + ASTRAY * deviation * amounts * torch.randn_like(latents)


def slopes(pictures: Tensor) -> Tensor:
    """How steep each pixel of `[n, c, h, w]` is, to the right and down together."""
    across, down = F.pad(pictures.diff(dim=-1), (0, 1)), F.pad(pictures.diff(dim=-2), (0, 0, 0, 1))
    # A root has no gradient at zero.
    return (across.square() + down.square() + 1e-4).sqrt()


def slopes_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """How far the steepest slopes near places are apart, which blur makes less, and means, which rings make more."""
    found, wanted = slopes(found), slopes(wanted)
    steepest, mean = (pool(found, NEAR, NEAR // 2) - pool(wanted, NEAR, NEAR // 2) for pool in (F.max_pool2d, F.avg_pool2d))
    return steepest.abs().mean() + 2 * mean.abs().mean()


def cropped_both(latents: Tensor, pictures: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Pieces of `side` pixels, from the same random place of every picture and of its latents."""
    factor = pictures.shape[-1] // latents.shape[-1]
    across, down = (int(torch.randint(0, latents.shape[-1] - side // factor + 1, ())) for _ in range(2))

    def piece(values: Tensor, scale: int) -> Tensor:
        top, left, size = scale * down, scale * across, side // factor * scale
        return values[..., top : top + size, left : left + size]

    return piece(latents, 1), piece(pictures, factor)


def train(work: Work) -> None:
    """Trains the decoder on by itself and saves the autoencoder with it."""
    preset, renderer = work.preset, work.renderer()
    settings, model = preset.decoder.training, work.autoencoder()
    deviation = 1 / model.config.scaling_factor
    decoder = nn.ModuleList([model.post_quant_conv, model.decoder]).requires_grad_(True)
    decoder.to(memory_format=torch.channels_last)
    before = copy.deepcopy(decoder)
    stage = Stage("decoder", work.folder, settings, {"decoder": decoder})
    own = drawn.read(work)
    scenes = work.data.scenes(work.seeded(stage.step))
    held_out = work.data.scenes(1)
    validation = renderer.pictures([held_out.scene() for _ in range(VALIDATION_PICTURES)])

    @torch.no_grad()
    def batch() -> tuple[Tensor, Tensor]:
        """Latents and pictures: renders, then as many that the student drew."""
        side = preset.autoencoder.crop if stage.fraction < CROPPED else preset.size
        renders = cropped(renderer.pictures([scenes.scene() for _ in range(settings.batch)]), side)
        latents = astray(model.encode(renders).latent_dist.mean.float(), deviation)
        which = torch.randint(0, len(own.latents), (settings.batch,), device=work.device)
        pictures = own.pictures[which].float() / 127.5 - 1
        some, near = cropped_both(own.latents[which] * deviation, pictures, side)
        return torch.cat([latents, some]), torch.cat([renders, near])

    def loss() -> dict[str, Tensor]:
        latents, pictures = batch()
        found = model.decode(latents).sample.float()
        (found, likely), (wanted, near) = found.split(settings.batch), pictures.split(settings.batch)
        return {
            "picture": reconstruction_loss(found, wanted),
            "squares": SQUARES * F.mse_loss(found, wanted),
            "likeness": LIKENESS * reconstruction_loss(likely, near),
            "slopes": SLOPES * slopes_loss(likely, near),
        }

    def report() -> str:
        return f"PSNR {psnr(averaged(), validation):.2f} dB"

    def averaged() -> nn.Module:
        best, changed = copy.deepcopy(model), copy.deepcopy(before)
        new = stage.averages["decoder"].parameters()
        torch._foreach_lerp_(list(changed.requires_grad_(False).parameters()), list(new), TAKEN)
        best.post_quant_conv, best.decoder = changed
        return best

    stage.train(loss, work.deadline, report)
    averaged().save_pretrained(work.model / "vae")
    stage.forget()
