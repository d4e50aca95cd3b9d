"""Stage `student`: a UNet that needs few steps and no guidance.

It learns to go in one step of DDIM where the teacher's path is some steps later (progressive distillation,
arXiv:2202.00512, in one round), with the guidance scale folded in (arXiv:2210.03142), and from places that its own
steps have led to back onto the path. Any sampler of diffusers that ends where DDIM does samples it.
"""

import copy
import random

import torch
import torch.nn.functional as F
from torch import Tensor

from . import networks, paths
from .loop import Stage
from .paths import stepped, velocity_to
from .work import Work

# Part of the batches that start where the student's own steps have led.
OWN = 0.5
# Part of the other starts that are anywhere on the path and not where the student's steps begin: for other numbers of
# steps than its own.
ANYWHERE = 0.3


def train(work: Work) -> None:
    """Distils the model's UNet and saves the student."""
    settings, drawn = work.preset.student, paths.read(work)
    text_encoder = work.text_encoder()
    model = networks.trainable(copy.deepcopy(work.unet()).requires_grad_(True), work.device)
    stage = Stage("student", work.folder, settings.training, {"unet": model})
    rng = random.Random(work.seeded(stage.step))
    timesteps, angle = (values.to(work.device) for values in paths.angles(settings.teacher_steps))
    last, stride, batch = settings.teacher_steps, settings.teacher_steps // settings.steps, settings.training.batch
    starts = torch.arange(0, last, stride, device=work.device)

    def turn(start: Tensor) -> Tensor:
        """The angle from `start` to where the student shall go from there."""
        return (angle[start] - angle[(start + stride).clamp(max=last)]).view(-1, 1, 1, 1)

    @torch.no_grad()
    def own(latents: Tensor, text: Tensor, steps: int) -> Tensor:
        """Latents after some of the student's own steps from pure noise."""
        for start in starts[:steps]:
            velocity = model(latents, timesteps[start], text).sample.float()
            latents = stepped(latents, velocity, turn(start))
        return latents

    def loss() -> dict[str, Tensor]:
        which = torch.randint(0, len(drawn.latents), (batch,), device=work.device)
        with torch.no_grad():
            text = text_encoder(drawn.ids[which].long()).last_hidden_state
        if rng.random() < OWN:
            steps = rng.randrange(1, len(starts))
            start = starts[steps].expand(batch)
            latents = own(drawn.latents[which, 0].float(), text, steps)
        else:
            anywhere = torch.rand(batch, device=work.device) < ANYWHERE
            start = starts[torch.randint(0, len(starts), (batch,), device=work.device)]
            start = torch.where(anywhere, torch.randint(0, last, (batch,), device=work.device), start)
            latents = drawn.latents[which, start].float()
        goal = drawn.latents[which, (start + stride).clamp(max=last)].float()
        wanted = velocity_to(latents, goal, turn(start))
        found = model(latents, timesteps[start], text).sample
        return {"velocity": F.mse_loss(found.float(), wanted)}

    stage.train(loss, work.deadline)
    stage.averages["unet"].save_pretrained(work.student / "unet")
    networks.schedule().save_pretrained(work.student / "scheduler")
    stage.forget()
