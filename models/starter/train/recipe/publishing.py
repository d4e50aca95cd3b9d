"""Finished networks as one model in diffusers layout, in half precision, with the notices that go with it."""

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from .concepts import HERE

NOTICES = HERE / "notices"
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": None,
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
}


# What the model is best with; Easel reads it, and diffusers passes over names with an underscore.
DEFAULTS = {
    "DDIMScheduler": {"num_inference_steps": 12, "guidance_scale": 4.0},
    "LCMScheduler": {"num_inference_steps": 4, "guidance_scale": 1.0},
}


def publish(model: Path, denoiser: Path, folder: Path) -> None:
    """Writes the networks of `model`, with the UNet and the scheduler of `denoiser`, into `folder`."""
    parts = {"vae": AutoencoderKL, "text_encoder": CLIPTextModel}
    for name, kind in parts.items():
        kind.from_pretrained(model / name).to(torch.float16).save_pretrained(folder / name)
    unet = UNet2DConditionModel.from_pretrained(denoiser / "unet")
    unet.to(torch.float16).save_pretrained(folder / "unet")
    for name in ("vae", "unet"):
        forget_origin(folder / name / "config.json")
    shutil.copytree(model / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    shutil.copytree(denoiser / "scheduler", folder / "scheduler", dirs_exist_ok=True)
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    kind = scheduler["_class_name"]
    index = INDEX | {"scheduler": ["diffusers", kind], "_defaults": DEFAULTS[kind]}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    for notice in NOTICES.iterdir():
        shutil.copy(notice, folder / notice.name)


def forget_origin(config: Path) -> None:
    """Takes out of a diffusers config which folder the network was read from."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings.pop("_name_or_path", None)
    config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
