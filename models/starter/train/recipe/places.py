"""Stage `places`: noise comes to tell where things are and how large, so that every seed has a picture of its own.

Ways that are led to the nearest render agree on one. Here slopes of the noise across and down and its bulge choose the
render that a way is led to; a caption and noise have one goal, and nothing is left open that would become a blur.
"""

import random

import torch
import torch.nn.functional as F
from torch import Tensor

from . import networks
from .loop import Stage
from .paths import angles, stepped, velocity_to
from .work import Work

# The first step alone has to read the noise. For this part of the stage, the others learn to go on from where they should
# have come to; then from where the student has come to. So many pictures of a batch go on.
READING, GO_ON = 0.35, 8
# Part of the batches that take other numbers of steps than the student's own, and which.
OTHER_STEPS, STEPS = 0.15, (2, 3, 6, 8)
# Ways by which a checkpoint tells what was learnt.
WATCHED = 48


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


def train(work: Work) -> None:
    """Trains the student's UNet on and saves it."""
    preset, data, settings = work.preset, work.data, work.preset.places
    model = networks.trainable(work.few_step_unet().requires_grad_(True), work.device)
    stage = Stage("places", work.folder, settings, {"unet": model})
    seed = work.seeded(stage.step)
    scenes, captions, rng = data.scenes(seed, preset.kinds), data.captions(seed, shared=False), random.Random(seed)
    text_encoder, autoencoder, renderer = work.text_encoder(), work.autoencoder(), work.renderer()
    side, channels = networks.latent_side(preset), preset.autoencoder.latent_channels
    told = Told(channels, side, work.device)

    @torch.no_grad()
    def asked(count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Noise, text, and the latents of the render that the noise tells."""
        noise = torch.randn(count, channels, side, side).to(work.device)
        placed = [scenes.placed(scenes.scene(), places) for places in told(noise).tolist()]
        ids = data.token_ids([captions.caption(scene) for scene in placed])
        text = text_encoder(ids.to(work.device)).last_hidden_state
        goal = autoencoder.encode(renderer.pictures(placed)).latent_dist.mean * autoencoder.config.scaling_factor
        return noise, text, goal.float()

    def loss() -> dict[str, Tensor]:
        noise, text, goal = asked(settings.batch)
        steps = rng.choice(STEPS) if rng.random() < OTHER_STEPS else preset.student.steps
        timesteps, angle = (values.to(work.device) for values in angles(steps))

        def line(i: int) -> Tensor:
            return angle[i].cos() * goal + angle[i].sin() * noise

        def step(i: int, latents: Tensor) -> tuple[Tensor, Tensor]:
            """Where step `i` leads from latents, and its error: that of the picture which it has in mind."""
            turn, count = angle[i] - angle[i + 1], len(latents)
            velocity = model(latents, timesteps[i], text[:count]).sample.float()
            wanted = velocity_to(latents, line(i + 1)[:count], turn)
            error = F.mse_loss(velocity, wanted) * (turn.sin() / angle[i + 1].cos()).square()
            return stepped(latents, velocity.detach(), turn), error

        latents, first = step(0, noise)
        if stage.fraction < READING:
            i = rng.randrange(1, steps)
            return {"first": first, "then": step(i, line(i)[:GO_ON])[1]}
        errors, latents = [], latents[:GO_ON]
        for i in range(1, steps):
            latents, error = step(i, latents)
            errors.append(error)
        return {"first": first, "then": torch.stack(errors).mean()}

    @torch.no_grad()
    def report() -> str:
        """How far the average's pictures are from what noise tells."""
        noise, text, goal = asked(WATCHED)
        timesteps, angle = (values.to(work.device) for values in angles(preset.student.steps))
        latents = noise
        for i, timestep in enumerate(timesteps):
            velocity = stage.averages["unet"](latents, timestep, text).sample.float()
            latents = stepped(latents, velocity, angle[i] - angle[i + 1])
        return f"error {F.mse_loss(latents, goal):.3f}"

    stage.train(loss, work.deadline, report)
    stage.averages["unet"].save_pretrained(work.student / "unet")
    stage.forget()
