"""Pictures from a model's folder, by diffusers."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from torch import Tensor

AT_ONCE = 16


@dataclass(frozen=True)
class Sampling:
    """How pictures are made. `dpmpp` takes DPM++ 2M in place of the model's own scheduler."""

    steps: int
    guidance_scale: float
    dpmpp: bool = False


class Painter:
    """A model in diffusers layout, loaded in float32."""

    def __init__(self, model: Path, device: torch.device):
        self._pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32).to(device)
        self._pipeline.set_progress_bar_config(disable=True)
        self._own = self._pipeline.scheduler
        self.autoencoder = self._pipeline.vae

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return self._pipeline.unet.config.sample_size * self._pipeline.vae_scale_factor

    def pictures(self, prompts: list[str], sampling: Sampling, seed: int) -> Tensor:
        """`[n, 3, size, size]` in -1..1 on the CPU; prompt number `i` starts from noise of seed `seed + i`."""
        self._pipeline.scheduler = self._own
        if sampling.dpmpp:
            self._pipeline.scheduler = DPMSolverMultistepScheduler.from_config(self._own.config)
        painted = []
        for start in range(0, len(prompts), AT_ONCE):
            batch = prompts[start : start + AT_ONCE]
            seeds = [torch.Generator().manual_seed(seed + start + i) for i in range(len(batch))]
            made = self._pipeline(
                batch,
                num_inference_steps=sampling.steps,
                guidance_scale=sampling.guidance_scale,
                generator=seeds,
                output_type="pt",
            )
            painted.append(made.images.float().cpu() * 2 - 1)
        return torch.cat(painted)
