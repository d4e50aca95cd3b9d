"""Stages `decoder` and `sharpen`: latents to pictures once more, for sharper pictures. Latents stay what they are: any UNet
for them fits as before.

Last, the decoder learns from what the student draws, too. Nobody knows what picture that is; the render nearest to it is
like it, but not at each pixel. So its slopes count: the steepest near every place, and their sum there. A decoder that only
sees pixels draws slow slopes in place of edges that may lie a little further on.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from . import drawn
from .autoencoder import CROPPED, VALIDATION_PICTURES, cropped, cropped_both, psnr, reconstruction_loss
from .loop import Stage
from .settings import Training
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
# What `sharpen` changes in the weights is taken by half (arXiv:2109.01903): all of it draws fine grids where it knows no
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
    pools = (F.max_pool2d, F.avg_pool2d)
    steepest, mean = (pool(found, NEAR, NEAR // 2) - pool(wanted, NEAR, NEAR // 2) for pool in pools)
    return steepest.abs().mean() + 2 * mean.abs().mean()


class Learner:
    """The decoder in the stage `name`, and the renders that it learns from."""

    def __init__(self, work: Work, name: str, training: Training):
        self._work, self._batch = work, training.batch
        self.model, self._renderer = work.autoencoder(), work.renderer()
        self.deviation = 1 / self.model.config.scaling_factor
        decoder = nn.ModuleList([self.model.post_quant_conv, self.model.decoder]).requires_grad_(True)
        decoder.to(memory_format=torch.channels_last)
        self._before = copy.deepcopy(decoder).requires_grad_(False)
        self.stage = Stage(name, work.folder, training, {"decoder": decoder})
        self._scenes = work.data.scenes(work.seeded(self.stage.step))
        held_out = work.data.scenes(1)
        self._validation = self._renderer.pictures([held_out.scene() for _ in range(VALIDATION_PICTURES)])

    @torch.no_grad()
    def renders(self, side: int) -> tuple[Tensor, Tensor]:
        """Latents that are a little off, and pictures."""
        pictures = cropped(self._renderer.pictures([self._scenes.scene() for _ in range(self._batch)]), side)
        return astray(self.model.encode(pictures).latent_dist.mean.float(), self.deviation), pictures

    def train(self, loss: Callable[[], dict[str, Tensor]], taken: float) -> None:
        """Trains, and saves the autoencoder with a part of what has changed in the weights."""

        def averaged() -> nn.Module:
            best, decoder = copy.deepcopy(self.model), copy.deepcopy(self._before)
            new = self.stage.averages["decoder"].parameters()
            torch._foreach_lerp_(list(decoder.parameters()), list(new), taken)
            best.post_quant_conv, best.decoder = decoder
            return best

        def report() -> str:
            return f"PSNR {psnr(averaged(), self._validation):.2f} dB"

        self.stage.train(loss, self._work.deadline, report)
        averaged().save_pretrained(self._work.model / "vae")
        self.stage.forget()


def picture_losses(found: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    return {
        "picture": reconstruction_loss(found, wanted),
        "squares": SQUARES * F.mse_loss(found, wanted),
    }


def train(work: Work) -> None:
    """Trains the decoder on by itself, on whole pictures, and saves the autoencoder with it."""
    learner = Learner(work, "decoder", work.preset.decoder)

    def loss() -> dict[str, Tensor]:
        latents, pictures = learner.renders(work.preset.size)
        return picture_losses(learner.model.decode(latents).sample.float(), pictures)

    learner.train(loss, taken=1.0)


def sharpen(work: Work) -> None:
    """Trains the decoder on what the student draws, beside renders, and saves the autoencoder with it."""
    preset, batch = work.preset, work.preset.sharpen.training.batch
    learner, own = Learner(work, "sharpen", preset.sharpen.training), drawn.read(work)

    def loss() -> dict[str, Tensor]:
        side = preset.autoencoder.crop if learner.stage.fraction < CROPPED else preset.size
        latents, renders = learner.renders(side)
        which = torch.randint(0, len(own.latents), (batch,), device=work.device)
        pictures = own.pictures[which].float() / 127.5 - 1
        some, near = cropped_both(own.latents[which] * learner.deviation, pictures, side)
        found, likely = learner.model.decode(torch.cat([latents, some])).sample.float().split(batch)
        return picture_losses(found, renders) | {
            "likeness": LIKENESS * reconstruction_loss(likely, near),
            "slopes": SLOPES * slopes_loss(likely, near),
        }

    learner.train(loss, TAKEN)
