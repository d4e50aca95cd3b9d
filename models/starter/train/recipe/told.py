"""Scenes whose places the noise tells, and the student that learns from renders of them.

A caption leaves open where things are and how large, and a student that shall draw any of it draws a blur. Slopes of the
noise across and down and its bulge choose one render instead, so that every seed has a picture of its own.
"""

import random
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from . import networks
from .loop import Stage
from .paths import angles
from .scenes import Scene, placed
from .settings import Training
from .work import Work

# Part of the batches that take other numbers of steps than the student's own, and which: mostly two, which cost half.
OTHER_STEPS, STEPS = 0.7, (2, 2, 2, 2, 3, 6, 8)


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

    def first_step(self, unet: nn.Module, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity from pure noise, where it is the latents in mind, negative; and its error."""
        velocity = unet(self.noise, timestep, self.text).sample.float()
        return velocity, F.mse_loss(velocity, -self.goals)


class ToldScenes:
    """Draws scenes at random, and noise for them that tells their places."""

    def __init__(self, work: Work, seed: int):
        preset, self._data = work.preset, work.data
        self.scenes = work.data.scenes(seed, preset.kinds)
        self._captions = work.data.captions(seed, shared=False)
        self._text_encoder, self._autoencoder = work.text_encoder(), work.autoencoder()
        self._autoencoder.to(memory_format=torch.channels_last)
        self.renderer, self._device = work.renderer(), work.device
        self._shape = (preset.autoencoder.latent_channels, *[networks.latent_side(preset)] * 2)
        self._told = Told(*self._shape[:2], work.device)

    @torch.no_grad()
    def draw(self, count: int) -> Drawn:
        noise = torch.randn(count, *self._shape).to(self._device)
        scenes = [placed(self.scenes.scene(), places) for places in self._told(noise).tolist()]
        ids = self._data.token_ids([self._captions.caption(scene) for scene in scenes])
        text = self._text_encoder(ids.to(self._device)).last_hidden_state
        return Drawn(noise, scenes, text, self.encoded(self.renderer.pictures(scenes)))

    @torch.no_grad()
    def encoded(self, pictures: Tensor) -> Tensor:
        """Latents."""
        latents = self._autoencoder.encode(pictures).latent_dist.mean
        return latents.float() * self._autoencoder.config.scaling_factor

    def decoded(self, latents: Tensor) -> Tensor:
        """Pictures, through which gradients go back to the latents."""
        return self._autoencoder.decode(latents / self._autoencoder.config.scaling_factor).sample.float()


class Learner:
    """The student's UNet in the stage `name`, and what it learns from."""

    def __init__(self, work: Work, name: str, training: Training):
        self._work = work
        self.unet = networks.trainable(work.few_step_unet().requires_grad_(True), work.device)
        self.stage = Stage(name, work.folder, training, {"unet": self.unet})
        seed = work.seeded(self.stage.step)
        self.told, self.rng = ToldScenes(work, seed), random.Random(seed)

    @property
    def average(self) -> nn.Module:
        return self.stage.averages["unet"]

    def steps(self) -> tuple[Tensor, Tensor]:
        """Timesteps and angles of the student's own number of steps or, now and then, of another; see `angles`."""
        count = self.rng.choice(STEPS) if self.rng.random() < OTHER_STEPS else self._work.preset.student.steps
        timesteps, angle = angles(count)
        return timesteps.to(self._work.device), angle.to(self._work.device)

    def save(self) -> None:
        """What the stage gives to the next."""
        self.average.save_pretrained(self._work.student / "unet")
        self.stage.forget()
