"""What diffusers computes with the tiny models, read back from disk, in float32."""

import dataclasses
import json

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file

from sampler_tables import make_scheduler
from tiny_models import MODELS

PROMPT = "a photo of an astronaut riding a horse, highly detailed"
NEGATIVE = "blurry, worst quality!"


@dataclasses.dataclass
class Run:
    """One picture; sizes in pixels, no sampler means the model's own."""

    model: str
    sampler: str | None
    steps: int = 4
    guidance_scale: float = 3.0
    seed: int = 42
    width: int = 32
    height: int = 32
    prompt: str = PROMPT
    negative_prompt: str = NEGATIVE

    @property
    def name(self):
        size = "" if self.width == self.height else f"-{self.width}x{self.height}"
        steps = "-1step" if self.steps == 1 else ""
        return f"{self.model}-{self.sampler or 'own'}{size}{steps}"


RUNS = [
    Run("sd1", None),
    Run("sd1", "ddim", seed=7),
    Run("sd1", "euler", width=32, height=48, seed=2**32 + 1),
    Run("sd1", "euler-a", width=48, height=32),
    Run("sd1", "dpmpp-2m", steps=5),
    Run("sd1", "dpmpp-2m-karras", steps=5, negative_prompt=""),
    Run("sd1", "unipc", steps=5),
    Run("sd1", "ddim", steps=1, guidance_scale=1.0, prompt=""),
    Run("sd1-legacy", "ddim", steps=3),
    Run("sd2", None),
    Run("sd2", "euler-a", steps=1, guidance_scale=1.0),
    Run("sd2", "unipc", width=48, height=32),
    Run("sd2-v", None, width=64, height=64),
    Run("sd2-v", "dpmpp-2m", width=64, height=64),
    # Too long, and cut between two words.
    Run("bk", None, steps=3, seed=7, prompt="a " + "many words " * 20),
    Run("bk", "dpmpp-2m-karras", steps=3),
    Run("lcm", None, guidance_scale=8.0, negative_prompt=""),
    Run("lcm", None, steps=1, guidance_scale=1.5, negative_prompt=""),
    Run("taesd", "euler", width=64, height=64),
    Run("fp16", "ddim"),
    Run("sdxl", None, width=48, height=32),
    # Zeros in the place of the negative prompt's embeddings.
    Run("sdxl", "dpmpp-2m", steps=3, negative_prompt=""),
    Run("sdxl-turbo", None, steps=2, guidance_scale=1.0),
    Run("sdxl-turbo", "ddim", steps=2, negative_prompt=""),
    Run("ssd-1b", None, width=32, height=48),
]


def load(models, run):
    folder = models / run.model
    pipe = DiffusionPipeline.from_pretrained(
        folder, torch_dtype=torch.float32, variant="fp16" if MODELS[run.model].half else None
    )
    pipe.set_progress_bar_config(disable=True)
    if run.sampler:
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
        pipe.scheduler = make_scheduler(run.sampler, config)
    return pipe


def token_ids(tokenizer, text):
    length = tokenizer.model_max_length
    return tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids


def is_xl(pipe):
    return hasattr(pipe, "text_encoder_2")


def negative_prompt(pipe, run):
    """SDXL's pipeline takes none for an empty one; others encode it."""
    return run.negative_prompt or (None if is_xl(pipe) and pipe.config.force_zeros_for_empty_prompt else "")


def encoded(pipe, run, tensors):
    """Token ids and embeddings of both prompts; the LCM pipeline has no negative one."""
    for text, suffix in ((run.prompt, ""), (run.negative_prompt, "_uncond")):
        ids = token_ids(pipe.tokenizer, text)
        tensors["token_ids" + suffix] = ids
        if is_xl(pipe):
            tensors["token_ids_2" + suffix] = token_ids(pipe.tokenizer_2, text)
        else:
            tensors["text_embeddings" + suffix] = pipe.text_encoder(ids).last_hidden_state
    if is_xl(pipe):
        names = ["text_embeddings", "text_embeddings_uncond", "pooled_text_embeddings", "pooled_text_embeddings_uncond"]
        tensors |= zip(names, pipe.encode_prompt(run.prompt, negative_prompt=negative_prompt(pipe, run)))


def unet_call(pipe, tensors):
    """One call at a timestep that is not whole, with a sample that is not square."""
    generator = torch.Generator().manual_seed(99)
    sample = torch.randn(1, 4, 8, 12, generator=generator)
    timestep = torch.tensor(431.25)
    dim = pipe.unet.config.time_cond_proj_dim
    cond = torch.randn(1, dim, generator=generator) if dim else None
    added = None
    if is_xl(pipe):
        # Height and width of the original, top and left of the crop, height and width of the target: all different.
        time_ids = torch.tensor([[96.0, 64, 8, 20, 48, 112]])
        added = {"text_embeds": tensors["pooled_text_embeddings"], "time_ids": time_ids}
        tensors["unet.time_ids"] = time_ids
    text = tensors["text_embeddings"]
    output = pipe.unet(sample, timestep, text, timestep_cond=cond, added_cond_kwargs=added).sample
    tensors.update({"unet.sample": sample, "unet.timestep": timestep[None], "unet.output": output})
    if dim:
        tensors["unet.timestep_cond"] = cond


def generate(pipe, run, dtype=torch.float32):
    """Latents after every model call, and the picture in 0..1."""
    factor = pipe.vae_scale_factor
    generator = torch.Generator("cpu").manual_seed(run.seed)
    initial = torch.randn(1, 4, run.height // factor, run.width // factor, generator=generator)
    seen = []

    def after_call(_, __, ___, values):
        seen.append(values["latents"].clone())
        return values

    arguments = {"negative_prompt": negative_prompt(pipe, run)} if pipe.unet.config.time_cond_proj_dim is None else {}
    image = pipe(
        prompt=run.prompt, num_inference_steps=run.steps, guidance_scale=run.guidance_scale, height=run.height,
        width=run.width, latents=initial.to(dtype), generator=generator, output_type="pt",
        callback_on_step_end=after_call,
        **arguments,
    ).images
    return initial, seen, image


def unit_picture(height, width):
    """A smooth picture in -1..1, `[1, 3, height, width]`."""
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 4, width), indexing="ij")
    return torch.stack([torch.sin(x + y), torch.cos(2 * x - y), torch.sin(x * y)])[None]


def vae_encode(pipe, tensors):
    image = unit_picture(24, 40)
    encoding = pipe.vae.encode(image)
    latents = encoding.latent_dist.mean if hasattr(encoding, "latent_dist") else encoding.latents
    tensors.update({"vae.image": image, "vae.latents": latents})


def deviation(pipe, run, seen, image):
    """How far rounding takes float32 from float64, relative to the range."""
    if run.sampler == "euler-a" or run.model == "lcm" or run.name == "sdxl-turbo-own":
        return 0.0  # their noise would be drawn anew, in double precision
    _, exact, exact_image = generate(pipe.to(dtype=torch.float64), run, torch.float64)
    pairs = [*zip(seen, exact, strict=True), (image, exact_image)]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


@torch.no_grad()
def write(folder, models, only):
    """Runs of the models in `only`; the others keep their files and their lines of the index."""
    folder.mkdir(exist_ok=True)
    path = folder / "index.json"
    kept = {entry["file"]: entry for entry in json.loads(path.read_text())} if path.exists() else {}
    index = []
    for run in RUNS:
        if run.model not in only:
            index.append(kept[f"{run.name}.safetensors"])
            continue
        pipe = load(models, run)
        tensors = {}
        encoded(pipe, run, tensors)
        unet_call(pipe, tensors)
        vae_encode(pipe, tensors)
        initial, seen, image = generate(pipe, run)
        tensors |= {"latents": initial, "image": image}
        tensors |= {f"latents.{i}": latents for i, latents in enumerate(seen)}
        assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point()), run.name
        file = folder / f"{run.name}.safetensors"
        save_file({key: value.contiguous().clone() for key, value in tensors.items()}, file)
        file.chmod(0o644)
        index.append({"file": file.name, **dataclasses.asdict(run), "calls": len(seen)})
        off = deviation(pipe, run, seen, image)
        assert off < 2e-5, (run.name, off)
        spread = [round(float(t.std()), 2) for t in (*seen, image)]
        print(f"{file.name}: {file.stat().st_size} bytes, off float64 by {off:.1e}, std {spread}")
    lines = ",\n".join(json.dumps(entry) for entry in index)
    path.write_text(f"[\n{lines}\n]\n")
