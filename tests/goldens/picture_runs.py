"""What diffusers makes of a picture and of a mask with the tiny models: img2img and inpainting, in float32."""

import dataclasses
import json
import sys

import numpy
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting
from PIL import Image
from safetensors.torch import save_file

from runs import NEGATIVE, PROMPT, load

WIDTH, HEIGHT, STEPS = 24, 16, 7
SAMPLERS = ("ddim", "euler", "euler-a", "dpmpp-2m", "dpmpp-2m-karras", "pndm", "unipc", "lcm")


@dataclasses.dataclass
class PictureRun:
    """One picture made of another; no sampler means the model's own."""

    model: str
    sampler: str | None
    strength: float
    mask: bool = False
    steps: int = STEPS
    guidance_scale: float = 1.5
    seed: int = 7

    @property
    def name(self):
        return f"{self.model}-{self.sampler or 'own'}-{'mask-' if self.mask else ''}{self.strength}"


def wanted():
    for sampler in SAMPLERS:
        for strength in (0.3, 0.8, 1.0):
            yield PictureRun("sd1-legacy", sampler, strength)
    # Strength chooses among the timesteps of a consistency model.
    for strength in (0.3, 0.8, 1.0):
        yield PictureRun("lcm", None, strength, steps=4)
    yield PictureRun("sd2-v", None, 0.8)
    yield PictureRun("taesd", "euler", 0.8)
    yield PictureRun("taesd", "euler-a", 0.8, mask=True)
    yield PictureRun("sdxl", None, 0.8)
    for sampler in ("ddim", "euler-a", "dpmpp-2m", "pndm", "unipc", "lcm"):
        yield PictureRun("sd1-legacy", sampler, 0.8, mask=True)
    yield PictureRun("sd1-legacy", "euler", 1.0, mask=True)
    yield PictureRun("sdxl", None, 0.8, mask=True)
    for sampler, strength in (("pndm", 1.0), ("euler-a", 1.0), ("euler", 0.6)):
        yield PictureRun("inpainting", sampler, strength, mask=True)


RUNS = list(wanted())


def picture():
    """An opaque picture of `[HEIGHT, WIDTH, 3]` bytes: slopes with a few edges."""
    y, x, c = numpy.meshgrid(numpy.arange(HEIGHT), numpy.arange(WIDTH), numpy.arange(3), indexing="ij")
    return ((9 * x + 7 * y + 80 * c + 3 * x * y * (c == 1)) % 256).astype(numpy.uint8)


def mask():
    """`[HEIGHT, WIDTH]` bytes: a box with soft edges that no boundary of latents meets."""
    mask = numpy.zeros((HEIGHT, WIDTH), numpy.uint8)
    mask[2:13, 4:18] = 90
    mask[3:12, 5:17] = 170
    mask[4:11, 6:16] = 255
    return mask


def drawn_in_float32(shape, generator=None, dtype=None, **_):
    return torch.randn(shape, generator=generator).to(dtype)


def generate(pipe, run):
    """Latents after every call, and the picture in 0..1; random numbers are those of float32 in every precision."""
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("diffusers.") and "randn_tensor" in vars(module):
            module.randn_tensor = drawn_in_float32
    seen = []

    def after_call(_, __, ___, values):
        seen.append(values["latents"].clone())
        return values

    arguments = {"negative_prompt": NEGATIVE} if pipe.unet.config.time_cond_proj_dim is None else {}
    if run.mask:
        arguments |= {"mask_image": Image.fromarray(mask()), "width": WIDTH, "height": HEIGHT}
    image = pipe(
        prompt=PROMPT, image=Image.fromarray(picture()), strength=run.strength, num_inference_steps=run.steps,
        guidance_scale=run.guidance_scale, generator=torch.Generator("cpu").manual_seed(run.seed), output_type="pt",
        callback_on_step_end=after_call, **arguments,
    ).images
    return seen, image


def write_photo(path):
    """A picture of 32x48 pixels, dark at the top and bright at the bottom, from a camera that was held on its side."""
    upright = numpy.repeat(numpy.linspace(0, 255, 48).astype(numpy.uint8)[:, None], 32, 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(numpy.rot90(upright).copy()).save(path, quality=90, exif=exif)


@torch.no_grad()
def write(path, models):
    tensors = {"image": torch.from_numpy(picture()).float(), "mask_image": torch.from_numpy(mask()).float()}
    index = []
    for run in RUNS:
        pipe = (AutoPipelineForInpainting if run.mask else AutoPipelineForImage2Image).from_pipe(load(models, run))
        pipe.set_progress_bar_config(disable=True)
        seen, image = generate(pipe, run)
        kept = {"latents.first": seen[0], "latents.last": seen[-1], "image": image}
        assert all(torch.isfinite(tensor).all() for tensor in kept.values()), run.name
        tensors |= {f"{run.name}.{key}": tensor.contiguous().clone() for key, tensor in kept.items()}
        index.append({"name": run.name, **dataclasses.asdict(run), "calls": len(seen)})
        exact, exact_image = generate(pipe.to(dtype=torch.float64), run)
        pairs = [*zip(seen, exact, strict=True), (image, exact_image)]
        off = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
        print(f"{run.name}: {type(pipe).__name__}, {len(seen)} calls, off float64 by {off:.1e}")
        assert off < 2e-5, (run.name, off)
    save_file(tensors, path)
    write_photo(path.with_name("photo.jpg"))
    path.chmod(0o644)
    parameters = {"width": WIDTH, "height": HEIGHT, "prompt": PROMPT, "negative_prompt": NEGATIVE}
    lines = ",\n".join(json.dumps(entry) for entry in index)
    path.with_suffix(".json").write_text(f'{{"request": {json.dumps(parameters)}, "runs": [\n{lines}\n]}}\n')
    print(path.name, path.stat().st_size, "bytes")
