"""Stage `drawn`: what the student draws, and the renders nearest to it, from which the decoder learns."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .loop import save
from .nearest import Search
from .paths import angles, stepped
from .told import ToldScenes
from .work import Work

AT_ONCE = 8


@dataclass(frozen=True)
class DrawnByStudent:
    """`latents` `[n, c, h, w]` of unit variance, and `pictures` `[n, 3, size, size]`, uint8, of the nearest renders."""

    latents: Tensor
    pictures: Tensor


@torch.no_grad()
def fill(work: Work) -> None:
    """Draws and saves."""
    latents, pictures = (torch.cat(parts) for parts in zip(*_made(work)))
    save({"latents": latents, "pictures": pictures}, work.folder / "drawn.pt")
    print(f"drawn: {len(latents)} latents, deviation {latents.std():.3f}", flush=True)


def _made(work: Work) -> Iterator[tuple[Tensor, Tensor]]:
    seed = work.seeded(0)
    told, unet = ToldScenes(work, seed), work.few_step_unet()
    search = Search.of(work, told, random.Random(seed))
    timesteps, angle = (values.to(work.device) for values in angles(work.preset.student.steps))
    for _ in range(-(-work.preset.sharpen.drawn // AT_ONCE)):
        work.deadline.check()
        asked = told.draw(AT_ONCE)
        latents = asked.noise
        for timestep, turn in zip(timesteps, angle[:-1] - angle[1:]):
            latents = stepped(latents, unet(latents, timestep, asked.text).sample.float(), turn)
        pictures = told.renderer.pictures(search.nearest(asked.scenes, latents))
        yield latents.cpu(), ((pictures + 1) * 127.5).round().byte().cpu()


def read(work: Work) -> DrawnByStudent:
    """All of it, on the training device."""
    parts = torch.load(work.folder / "drawn.pt", weights_only=True)
    return DrawnByStudent(**{name: part.to(work.device) for name, part in parts.items()})
