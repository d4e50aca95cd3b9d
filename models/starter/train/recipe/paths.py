"""Stage `paths`: the ways of the teacher from pure noise to pictures, guided, which the student learns to go faster."""

from dataclasses import dataclass

import torch
from torch import Tensor

from . import networks
from .loop import autocast, save
from .work import Work

# Paths that are made, and saved, together.
AT_ONCE = 96
# Part of the paths that have no caption, and so no guidance.
EMPTY = 0.04


@dataclass(frozen=True)
class Paths:
    """`latents` `[n, steps + 1, c, h, w]` from pure noise to none, and `ids` `[n, positions]` of their captions."""

    latents: Tensor
    ids: Tensor


def angles(steps: int) -> tuple[Tensor, Tensor]:
    """Timesteps `[steps]`, and how noisy latents are there and at the end: `[steps + 1]`, the arctangent of noise to
    signal (arXiv:2202.00512, appendix D)."""
    schedule = networks.schedule()
    schedule.set_timesteps(steps)
    alphas = torch.cat([schedule.alphas_cumprod[schedule.timesteps], schedule.final_alpha_cumprod.view(1)])
    return schedule.timesteps, alphas.sqrt().clamp(max=1).acos()


def stepped(latents: Tensor, velocity: Tensor, angle: Tensor) -> Tensor:
    """One step of DDIM by so much less of the angle: there latents turn towards the velocity."""
    return angle.cos() * latents - angle.sin() * velocity


def velocity_to(latents: Tensor, goal: Tensor, angle: Tensor) -> Tensor:
    """The velocity with which `stepped` leads from latents to the goal."""
    return (angle.cos() * latents - goal) / angle.sin()


@torch.no_grad()
def fill(work: Work) -> None:
    """Makes the paths, a file of them at a time; goes on after those that are there."""
    folder, files = work.folder / "paths", -(-work.preset.student.paths // AT_ONCE)
    folder.mkdir(exist_ok=True)
    text_encoder, teacher = work.text_encoder(), networks.trainable(work.unet(), work.device)
    for number in range(files):
        file = folder / f"{number:04}.pt"
        if not file.exists():
            work.deadline.check()
            save(vars(_made(work, number, text_encoder, teacher)), file)
    print(f"paths: {files * AT_ONCE} of {work.preset.student.teacher_steps} steps", flush=True)


def _made(work: Work, number: int, text_encoder: torch.nn.Module, teacher: torch.nn.Module) -> Paths:
    """File number so and so of the paths: always the same ones."""
    settings, data = work.preset.student, work.data
    scenes, captions = data.scenes(work.seeded(number), work.preset.kinds), data.captions(number)
    texts = [captions.caption(scenes.scene()) for _ in range(AT_ONCE)]
    texts[: round(EMPTY * AT_ONCE)] = [""] * round(EMPTY * AT_ONCE)
    ids = data.token_ids(texts)
    timesteps, angle = angles(settings.teacher_steps)
    side, channels = networks.latent_side(work.preset), work.preset.autoencoder.latent_channels
    latents = torch.randn(AT_ONCE, channels, side, side).to(work.device)
    path = [latents]
    with autocast(work.device):
        given = text_encoder(ids.to(work.device)).last_hidden_state
        empty = text_encoder(data.token_ids([""]).to(work.device)).last_hidden_state.expand_as(given)
        for i, timestep in enumerate(timesteps):
            both = teacher(latents.repeat(2, 1, 1, 1), timestep, torch.cat([empty, given])).sample
            without, wanted = both.float().chunk(2)
            velocity = without + settings.guidance_scale * (wanted - without)
            latents = stepped(latents, velocity, angle[i] - angle[i + 1])
            path.append(latents)
    return Paths(torch.stack(path, 1).half().cpu(), ids.short())


def read(work: Work) -> Paths:
    """All paths, on the training device."""
    files = [torch.load(file, weights_only=True) for file in sorted((work.folder / "paths").glob("*.pt"))]
    return Paths(*(torch.cat([file[part] for file in files]).to(work.device) for part in ("latents", "ids")))
