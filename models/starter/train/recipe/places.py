"""Stage `places`: the student's first step learns to read from the noise where things are and how large.

A caption leaves that open, and a student that shall draw any of it draws a blur. Slopes of the noise across and down and
its bulge choose one render instead, so that every seed has a picture of its own.
"""

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from . import networks
from .loop import Stage
from .paths import angles, velocity_to
from .scenes import Scene
from .work import Work

# Of a batch, so many learn to go on as well, from where the first step should lead.
GO_ON = 8
# Part of the batches that take other numbers of steps than the student's own, and which.
OTHER_STEPS, STEPS = 0.15, (2, 3, 6, 8)
# First steps by which a checkpoint tells what was learnt.
WATCHED = 96


class Told:
    """What noise tells: three numbers, each as likely to be anywhere in 0..1, for a shift across, one down, and a size.

    They are how much of a slope across, a slope down and a bulge noise has, in all its channels alike.
    """

    def __init__(self, channels: int, side: int, device: torch.device | str = "cpu"):
        across = torch.linspace(-1, 1, side).expand(side, side)
        bulge = across.square() + across.T.square()
        patterns = torch.stack([across, across.T, bulge - bulge.mean()])
        norms = patterns.square().sum((1, 2), keepdim=True).mul(channels).sqrt()
        self._patterns = (patterns / norms).to(device)

    def __call__(self, noise: Tensor) -> Tensor:
        """`[n, 3]` of noise `[n, channels, side, side]`."""
        return torch.special.ndtr(torch.einsum("nchw,phw->np", noise, self._patterns))


@dataclass(frozen=True)
class Drawn:
    """Noise, the scenes that it tells, their captions as the UNet reads them, and the latents of their renders."""

    noise: Tensor
    scenes: list[Scene]
    text: Tensor
    goals: Tensor


class ToldScenes:
    """Draws scenes at random, and noise for them that tells their places."""

    def __init__(self, work: Work, seed: int):
        preset, self._data = work.preset, work.data
        self.scenes = work.data.scenes(seed, preset.kinds)
        self._captions = work.data.captions(seed, shared=False)
        self._text_encoder, self._autoencoder = work.text_encoder(), work.autoencoder()
        self.renderer, self._device = work.renderer(), work.device
        self._shape = (preset.autoencoder.latent_channels, *[networks.latent_side(preset)] * 2)
        self._told = Told(*self._shape[:2], work.device)

    @torch.no_grad()
    def draw(self, count: int) -> Drawn:
        noise = torch.randn(count, *self._shape).to(self._device)
        scenes = [self.scenes.placed(self.scenes.scene(), places) for places in self._told(noise).tolist()]
        ids = self._data.token_ids([self._captions.caption(scene) for scene in scenes])
        text = self._text_encoder(ids.to(self._device)).last_hidden_state
        return Drawn(noise, scenes, text, self.encoded(self.renderer.pictures(scenes)))

    @torch.no_grad()
    def encoded(self, pictures: Tensor) -> Tensor:
        latents = self._autoencoder.encode(pictures).latent_dist.mean
        return latents.float() * self._autoencoder.config.scaling_factor


def first_step(unet: torch.nn.Module, drawn: Drawn) -> tuple[Tensor, Tensor]:
    """The velocity from pure noise, where it is the latents in mind, negative; and its error."""
    timesteps, _ = angles(1)
    velocity = unet(drawn.noise, timesteps[0].to(drawn.noise.device), drawn.text).sample.float()
    return velocity, F.mse_loss(velocity, -drawn.goals)


def train(work: Work) -> None:
    """Trains the student's UNet on and saves it."""
    preset, settings = work.preset, work.preset.places
    model = networks.trainable(work.few_step_unet().requires_grad_(True), work.device)
    stage = Stage("places", work.folder, settings, {"unet": model})
    seed = work.seeded(stage.step)
    told, rng = ToldScenes(work, seed), random.Random(seed)

    def loss() -> dict[str, Tensor]:
        drawn = told.draw(settings.batch)
        _, first = first_step(model, drawn)
        steps = rng.choice(STEPS) if rng.random() < OTHER_STEPS else preset.student.steps
        timesteps, angle = (values.to(work.device) for values in angles(steps))
        i = rng.randrange(1, steps)
        here, there = (angle[at].cos() * drawn.goals + angle[at].sin() * drawn.noise for at in (i, i + 1))
        velocity = model(here[:GO_ON], timesteps[i], drawn.text[:GO_ON]).sample.float()
        wanted = velocity_to(here, there, angle[i] - angle[i + 1])[:GO_ON]
        return {"first": first, "then": F.mse_loss(velocity, wanted)}

    @torch.no_grad()
    def report() -> str:
        return f"error of first steps {float(first_step(stage.averages['unet'], told.draw(WATCHED))[1]):.3f}"

    stage.train(loss, work.deadline, report)
    stage.averages["unet"].save_pretrained(work.student / "unet")
    stage.forget()
