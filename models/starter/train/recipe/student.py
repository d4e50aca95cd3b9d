"""Stage `student`: a UNet that needs few steps and no guidance, by latent consistency distillation.

arXiv:2310.04378, section 4; sampled by diffusers' `LCMScheduler`, whose boundary condition is `boundary`.
"""

import copy

import torch
from diffusers import LCMScheduler
from torch import Tensor

from . import networks, pool
from .diffusion import noised, scales
from .loop import Stage
from .settings import StudentSettings
from .work import Work

SIGMA_DATA, TIMESTEP_SCALING = 0.5, 10.0
# Width of the parabola of the pseudo-Huber loss (arXiv:2310.14189, section 3.3).
HUBER = 0.03


def scheduler(settings: StudentSettings) -> LCMScheduler:
    """The scheduler that the student is saved with."""
    return LCMScheduler(
        **networks.NOISE | {"timestep_spacing": "leading"},
        set_alpha_to_one=True,
        # Of no effect here, but diffusers' pipeline insists on it.
        steps_offset=1,
        original_inference_steps=settings.original_inference_steps,
        timestep_scaling=TIMESTEP_SCALING,
    )


def boundary(timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """How much of its input, and of its prediction, the consistency function returns (arXiv:2303.01469, appendix C)."""
    scaled = timesteps.view(-1, 1, 1, 1) * TIMESTEP_SCALING
    squares = scaled**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / squares, scaled / squares.sqrt()


def train(work: Work) -> None:
    """Distils the model's UNet and saves the student."""
    settings, drawn = work.preset.student, pool.read(work)
    teacher, text_encoder = work.unet(), work.text_encoder()
    model = copy.deepcopy(teacher).requires_grad_(True)
    stage = Stage("student", work.folder, settings.training, {"unet": model})
    target = stage.averages["unet"]
    work.seeded(stage.step)
    # Before the first timestep there is no noise.
    alphas = torch.cat([networks.schedule().alphas_cumprod, torch.ones(1)]).to(work.device)
    stride = networks.NOISE["num_train_timesteps"] // settings.original_inference_steps
    batch = settings.training.batch

    def clean(velocity: Tensor, inputs: Tensor, timesteps: Tensor) -> Tensor:
        signal, spread = scales(alphas, timesteps)
        return signal * inputs - spread * velocity

    def consistent(unet: torch.nn.Module, inputs: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        velocity = unet(inputs, timesteps.clamp(min=0), text).sample.float()
        skip, out = boundary(timesteps.clamp(min=0))
        return skip * inputs + out * clean(velocity, inputs, timesteps)

    @torch.no_grad()
    def stepped(inputs: Tensor, timesteps: Tensor, earlier: Tensor, text: Tensor, empty: Tensor) -> Tensor:
        """One guided step of DDIM by the teacher."""
        both = teacher(inputs.repeat(2, 1, 1, 1), timesteps.repeat(2), torch.cat([empty, text])).sample.float()
        without, given = both.chunk(2)
        velocity = without + settings.guidance_scale * (given - without)
        signal, spread = scales(alphas, timesteps)
        noise = signal * velocity + spread * inputs
        signal, spread = scales(alphas, earlier)
        return signal * clean(velocity, inputs, timesteps) + spread * noise

    def loss() -> dict[str, Tensor]:
        which = torch.randint(0, len(drawn.latents), (batch,), device=work.device)
        latents = drawn.latents[which].float()
        with torch.no_grad():
            text = text_encoder(drawn.captions(which)).last_hidden_state
            empty = text_encoder(drawn.empty.long().expand(batch, -1)).last_hidden_state
        index = torch.randint(1, settings.original_inference_steps + 1, (batch,), device=work.device)
        timesteps = index * stride - 1
        # -1 is the place of the noiseless entry.
        earlier = torch.where(index == 1, -1, timesteps - stride)
        inputs, _ = noised(latents, torch.randn_like(latents), alphas, timesteps)
        found = consistent(model, inputs, timesteps, text)
        with torch.no_grad():
            fewer = stepped(inputs, timesteps, earlier, text, empty)
            wanted = torch.where(
                (earlier < 0).view(-1, 1, 1, 1), fewer, consistent(target, fewer, earlier, text)
            )
        return {"consistency": ((found - wanted).square() + HUBER**2).sqrt().mean() - HUBER}

    stage.train(loss, work.deadline)
    target.save_pretrained(work.student / "unet")
    scheduler(settings).save_pretrained(work.student / "scheduler")
    stage.forget()
