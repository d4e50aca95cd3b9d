"""LoRA files as diffusers, PEFT and kohya's scripts name them, and what diffusers computes with them fused."""

import dataclasses
import json

import torch
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

import runs

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
UNET = [*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"]
# 3x3, 1x1, with strides, with upsampling, and those outside of the blocks.
CONVOLUTIONS = ["conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "conv_in", "conv_out"]
TIME = ["time_emb_proj", "linear_1", "linear_2"]

# Latent diffusion's names of the blocks of `sdxl`, whose stages have two layers.
XL_BLOCKS = {f"down_blocks_{s}_{kind}_{i}": f"input_blocks_{1 + 3 * s + i}_{m}"
             for s in range(3) for i in range(2) for m, kind in enumerate(("resnets", "attentions"))}
XL_BLOCKS |= {f"down_blocks_{s}_downsamplers_0_conv": f"input_blocks_{3 * s + 3}_0_op" for s in range(2)}
XL_BLOCKS |= {f"up_blocks_{s}_{kind}_{i}": f"output_blocks_{3 * s + i}_{m}"
              for s in range(3) for i in range(3) for m, kind in enumerate(("resnets", "attentions"))}
XL_BLOCKS |= {f"up_blocks_{s}_upsamplers_0_conv": f"output_blocks_{3 * s + 2}_2_conv" for s in range(2)}
XL_BLOCKS |= {"mid_block_resnets_0": "middle_block_0", "mid_block_attentions_0": "middle_block_1",
              "mid_block_resnets_1": "middle_block_2"}
XL_RESNETS = {"_conv1.": "_in_layers_2.", "_conv2.": "_out_layers_3.", "_conv_shortcut.": "_skip_connection.",
              "_time_emb_proj.": "_emb_layers_1."}


@dataclasses.dataclass
class Lora:
    """A file: the layers of a model that it changes, its scale, and how it is written."""

    model: str
    seed: int
    rank: int
    alpha: float
    unet: list
    text: list
    write: object
    dtype: torch.dtype = torch.float32


@dataclasses.dataclass
class LoraRun(runs.Run):
    """A picture with LoRAs, by their strengths."""

    loras: dict = dataclasses.field(default_factory=dict)

    @property
    def name(self):
        return f"{self.model}-" + "-".join(name.removeprefix(f"{self.model}-") for name in self.loras)


def components(pipe, lora):
    """The parts that a LoRA changes, with the names of their layers."""
    parts = {"unet": lora.unet, "text_encoder": lora.text, "text_encoder_2": lora.text}
    return {name: (getattr(pipe, name), targets) for name, targets in parts.items() if targets and hasattr(pipe, name)}


@torch.no_grad()
def make(pipe, lora):
    """Adapters of random factors; a state dict of PEFT's names and a config for each part."""
    made = {}
    for index, (name, (part, targets)) in enumerate(components(pipe, lora).items()):
        config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets)
        part.add_adapter(config, "made")
        generator = torch.Generator().manual_seed(1000 * lora.seed + index)
        state = get_peft_model_state_dict(part, adapter_name="made")
        for key, value in state.items():
            scale = value[0].numel() ** -0.5 * (0.4 if "lora_B" in key else 1.0)
            state[key] = (torch.randn(value.shape, generator=generator) * scale).to(lora.dtype)
        made[name] = (state, part.peft_config["made"])
    return made


def write_peft(pipe, file, made):
    """As `save_lora_weights` does, with PEFT's config in the header."""
    layers = {f"{part}_lora_layers": state for part, (state, _) in made.items()}
    configs = {f"{part}_lora_adapter_metadata": config.to_dict() for part, (_, config) in made.items()}
    pipe.save_lora_weights(file.parent, weight_name=file.name, **layers, **configs)


def write_diffusers(pipe, file, made):
    """As the training scripts of diffusers do: `to_q.lora.down`, and `lora_linear_layer` in text encoders."""
    layers = {f"{part}_lora_layers": convert_state_dict_to_diffusers(state) for part, (state, _) in made.items()}
    pipe.save_lora_weights(file.parent, weight_name=file.name, **layers)


def write_old(_, file, made):
    """As diffusers did before PEFT: factors belong to attention processors."""
    tensors = {}
    for part, (state, _) in made.items():
        for key, value in state.items():
            layer, factor = key.split(".lora_")
            block, projection = layer.removesuffix(".0").rsplit(".", 1)
            end = "down" if factor[0] == "A" else "up"
            tensors[f"{part}.{block}.processor.{projection}_lora.{end}.weight"] = value
    save_file(tensors, file)


def kohya(made):
    tensors = {}
    prefixes = {"unet": "lora_unet", "text_encoder": "lora_te", "text_encoder_2": "lora_te2"}
    if "text_encoder_2" in made:
        prefixes["text_encoder"] = "lora_te1"
    for part, (state, config) in made.items():
        for key, value in state.items():
            layer, factor = key.removesuffix(".weight").split(".lora_")
            if part.startswith("text_encoder") and not layer.startswith("text_"):
                layer = "text_model." + layer  # transformers 5 leaves it out
            name = f"{prefixes[part]}_{layer.replace('.', '_')}"
            tensors[f"{name}.lora_{'down' if factor == 'A' else 'up'}.weight"] = value
            tensors[f"{name}.alpha"] = torch.tensor(float(config.lora_alpha), dtype=value.dtype)
    return tensors


def write_kohya(_, file, made):
    save_file(kohya(made), file)


def original(key):
    """A layer of SDXL as kohya's scripts name it, after the checkpoint's own names."""
    for block, name in sorted(XL_BLOCKS.items(), reverse=True):
        if f"lora_unet_{block}" in key:
            key = key.replace(block, name)
            break
    if "_attentions_" not in key and "transformer_blocks" not in key:
        for new, old in XL_RESNETS.items():
            key = key.replace(new, old)
    return key


def write_kohya_xl(_, file, made):
    save_file({original(key): value for key, value in kohya(made).items()}, file)


LORAS = {
    "sd1-peft": Lora("sd1", 1, 4, 6, [*UNET, *TIME], TEXT, write_peft),
    "sd1-kohya": Lora("sd1", 2, 3, 2, [*UNET, *CONVOLUTIONS], TEXT, write_kohya, torch.float16),
    "sd1-old": Lora("sd1", 3, 2, 2, ATTENTION, [], write_old, torch.bfloat16),
    "sdxl-diffusers": Lora("sdxl", 4, 4, 4, ATTENTION, TEXT[:4], write_diffusers),
    "sdxl-kohya": Lora("sdxl", 5, 5, 2.5, [*UNET, *CONVOLUTIONS[:5]], TEXT, write_kohya_xl, torch.float16),
}

RUNS = [
    LoraRun("sd1", "ddim", steps=3, loras={"sd1-peft": 0.8}),
    LoraRun("sd1", "ddim", steps=3, loras={"sd1-kohya": 1.0}),
    LoraRun("sd1", "ddim", steps=3, loras={"sd1-kohya": 0.7, "sd1-old": -0.5, "sd1-peft": 0.3}),
    LoraRun("sdxl", None, steps=2, loras={"sdxl-diffusers": 1.0}),
    LoraRun("sdxl", None, steps=2, negative_prompt="", loras={"sdxl-kohya": 0.6}),
]


def fused(folder, models, run):
    pipe = runs.load(models, run)
    for name in run.loras:
        pipe.load_lora_weights(folder, weight_name=f"{name}.safetensors", adapter_name=name.replace("-", "_"))
    names = [name.replace("-", "_") for name in run.loras]
    pipe.set_adapters(names, list(run.loras.values()))
    parts = [part for part in ("unet", "text_encoder", "text_encoder_2") if hasattr(pipe, part)]
    pipe.fuse_lora(components=parts, adapter_names=names)
    pipe.unload_lora_weights()
    return pipe


@torch.no_grad()
def write(folder, models):
    """All files, and a picture for each of the runs."""
    folder.mkdir(exist_ok=True)
    for name, lora in LORAS.items():
        pipe = runs.load(models, runs.Run(lora.model, None))
        file = folder / f"{name}.safetensors"
        lora.write(pipe, file, make(pipe, lora))
        file.chmod(0o644)
        print(f"{file.name}: {file.stat().st_size} bytes, {len(load_file(file))} tensors")
    index = []
    for run in RUNS:
        plain = runs.generate(runs.load(models, run), run)
        pipe = fused(folder, models, run)
        tensors = {}
        runs.encoded(pipe, run, tensors)
        initial, seen, image = runs.generate(pipe, run)
        tensors |= {"latents": initial, "image": image}
        tensors |= {f"latents.{i}": latents for i, latents in enumerate(seen)}
        file = folder / f"run-{run.name}.safetensors"
        save_file({key: value.contiguous().clone() for key, value in tensors.items()}, file)
        file.chmod(0o644)
        index.append({"file": file.name, **dataclasses.asdict(run), "calls": len(seen)})
        off = runs.deviation(pipe, run, seen, image)
        assert off < 2e-5, (run.name, off)
        effect = float((image - plain[2]).abs().max())
        assert effect > 0.1, (run.name, effect)
        print(f"{file.name}: {file.stat().st_size} bytes, off float64 by {off:.1e}, effect {effect:.2f}")
    lines = ",\n".join(json.dumps(entry) for entry in index)
    (folder / "index.json").write_text(f"[\n{lines}\n]\n")
