"""Finished networks as one model in diffusers layout, in half precision, with the notices that go with it."""

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from .articles import with_article
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


def publish(
    model: Path, denoiser: Path, steps: int, guidance_scale: float, names: list[str], folder: Path
) -> None:
    """Writes the networks of `model`, with the UNet and the scheduler of `denoiser`, into `folder`.

    They are best with `steps` and `guidance_scale`, and draw the things with these `names`.
    """
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
    # Easel reads the defaults; diffusers passes over names with an underscore.
    defaults = {"num_inference_steps": steps, "guidance_scale": guidance_scale}
    index = INDEX | {"scheduler": ["diffusers", scheduler["_class_name"]], "_defaults": defaults}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    things = "\n".join(map(with_article, names))
    (folder / "things.txt").write_text(things + "\n", encoding="utf-8")
    for notice in NOTICES.iterdir():
        shutil.copy(notice, folder / notice.name)


def forget_origin(config: Path) -> None:
    """Takes out of a diffusers config which folder the network was read from."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings.pop("_name_or_path", None)
    config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
