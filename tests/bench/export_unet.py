"""Writes one UNet2DConditionModel of Stable Diffusion's shape twice: in diffusers layout for Easel, and as ONNX.

    python export_unet.py SIZE FOLDER

The weights are random and seeded: a call's time does not depend on their values. Beside them lie one call's inputs
and what torch computes for it, as raw little-endian float32 in row-major order, and `bench.json`, which tells their
shapes.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

SEED = 3
TIMESTEP = 501
TOKENS = 77
OPSET = 20

# Heads have 64 channels, as Stable Diffusion 2's.
SMALL = {
    "block_out_channels": (64, 128, 256, 256),
    "attention_head_dim": (1, 2, 4, 4),
    "layers_per_block": 1,
    "cross_attention_dim": 768,
}
MEDIUM = {
    "block_out_channels": (128, 256, 384, 384),
    "attention_head_dim": (2, 4, 6, 6),
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
}
SIZES = {
    "small": {**SMALL, "sample_size": 24},
    "medium": {**MEDIUM, "sample_size": 32},
    "large": {**MEDIUM, "sample_size": 64},
}


def random_unet(size):
    torch.manual_seed(SEED)
    unet = UNet2DConditionModel(use_linear_projection=True, **SIZES[size]).eval()
    for name, parameter in unet.named_parameters():
        # Initial norms are the identity: weights that say nothing would hide a mistake with them.
        if "norm" in name:
            torch.nn.init.normal_(parameter, 1.0 if name.endswith("weight") else 0.0, 0.1)
    return unet


def inputs(unet):
    generator = torch.Generator().manual_seed(SEED)
    side = unet.config.sample_size
    sample = torch.randn(1, unet.config.in_channels, side, side, generator=generator)
    text = torch.randn(1, TOKENS, unet.config.cross_attention_dim, generator=generator)
    return sample, torch.tensor([TIMESTEP]), text


class OneCall(torch.nn.Module):
    """The UNet with plain tensors in and out."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, sample, timestep, encoder_hidden_states):
        return self.unet(sample, timestep, encoder_hidden_states, return_dict=False)[0]


def export(size, folder):
    unet = random_unet(size)
    sample, timestep, text = inputs(unet)
    call = OneCall(unet).eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        output = call(sample, timestep, text)
    unet.save_pretrained(folder / "unet")
    torch.onnx.export(
        call,
        (sample, timestep, text),
        folder / "unet.onnx",
        input_names=["sample", "timestep", "encoder_hidden_states"],
        output_names=["out_sample"],
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
    )
    arrays = {"sample": sample, "encoder_hidden_states": text, "output": output}
    for name, tensor in arrays.items():
        (folder / f"{name}.f32").write_bytes(tensor.contiguous().numpy().astype("<f4").tobytes())
    about = {
        "size": size,
        "parameters": sum(parameter.numel() for parameter in unet.parameters()),
        "gflop": counter.get_total_flops() / 1e9,
        "timestep": TIMESTEP,
        "shapes": {name: list(tensor.shape) for name, tensor in arrays.items()},
    }
    # Written last: whoever finds it finds all files.
    (folder / "bench.json").write_text(json.dumps(about, indent=1) + "\n")


def main():
    size, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    export(size, folder)


if __name__ == "__main__":
    main()
