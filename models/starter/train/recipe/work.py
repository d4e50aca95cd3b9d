"""What the stages of one run share: the preset, the data, the device and the folder with their results."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from .data import Data
from .loop import Deadline
from .rendering import Renderer
from .settings import Preset


@dataclass(frozen=True)
class Work:
    """A run of the recipe. `folder` holds what finished stages made, in diffusers layout, and checkpoints."""

    preset: Preset
    data: Data
    folder: Path
    device: torch.device
    deadline: Deadline

    @property
    def model(self) -> Path:
        """The model with the teacher's UNet."""
        return self.folder / "model"

    @property
    def student(self) -> Path:
        """The UNet that few steps suffice for."""
        return self.folder / "student"

    def renderer(self, size: int | None = None) -> Renderer:
        return Renderer(self.data.atlas, size or self.preset.size, self.device)

    def autoencoder(self) -> AutoencoderKL:
        return self._frozen(AutoencoderKL, self.model / "vae")

    def text_encoder(self) -> CLIPTextModel:
        return self._frozen(CLIPTextModel, self.model / "text_encoder")

    def unet(self) -> UNet2DConditionModel:
        return self._frozen(UNet2DConditionModel, self.model / "unet")

    def few_step_unet(self) -> UNet2DConditionModel:
        return self._frozen(UNet2DConditionModel, self.student / "unet")

    def seeded(self, step: int) -> int:
        """Seeds torch for the steps from `step` on, and gives a seed for data: a run that goes on sees new data."""
        torch.manual_seed(1000 + step)
        return 2000 + step

    def _frozen(self, kind: type, place: Path):
        network = kind.from_pretrained(place, low_cpu_mem_usage=False).float()
        return network.to(self.device).eval().requires_grad_(False)
