#!/usr/bin/env python3
"""A model of Stable Diffusion 1.5's shapes with random weights, for tests and benchmarks of full size:
`python full_size.py FOLDER [--latents 64]` writes 2 GB: the model in diffusers layout with fp16 weights, the tiny
autoencoder, and `unet_call.safetensors` with one UNet call as diffusers computes it in float32."""

import argparse
import json
import pathlib

import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

import tiny_models
import tokenizers_made

TOKENS, WIDTH = 77, 768
MODEL = tiny_models.Model(seed=15)


def make_unet():
    return UNet2DConditionModel(sample_size=64, cross_attention_dim=WIDTH, attention_head_dim=8)


def make_text_encoder():
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=49408, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=12,
        num_attention_heads=12, max_position_embeddings=TOKENS, hidden_act="quick_gelu", projection_dim=WIDTH,
        bos_token_id=49406, eos_token_id=49407, pad_token_id=1,
    ))


@torch.no_grad()
def unet_call(unet, size):
    generator = torch.Generator().manual_seed(MODEL.seed)
    sample = torch.randn(1, 4, size, size, generator=generator)
    embeds = torch.randn(1, TOKENS, WIDTH, generator=generator)
    timestep = torch.tensor([501.0])
    output = unet(sample, timestep, embeds).sample
    return {"sample": sample, "timestep": timestep, "text_embeddings": embeds, "output": output}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=pathlib.Path)
    options.add_argument("--latents", type=int, default=64, help="side of the latents of the UNet call")
    options = options.parse_args()
    # Rounded to what the files hold, so that both sides have the same weights.
    unet, text_encoder, vae = (
        tiny_models.randomise(part, 100 * MODEL.seed + i).half()
        for i, part in enumerate((make_unet(), make_text_encoder(), AutoencoderTiny()))
    )
    tokenizer = tokenizers_made.make_tokenizer(MODEL.pad, TOKENS)
    pipe = StableDiffusionPipeline(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet,
        scheduler=tiny_models.stable_scheduler(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(options.folder)
    tokenizers_made.write_files(options.folder / "tokenizer", MODEL.pad, ("vocab",))
    tensors = unet_call(unet.float(), options.latents)
    save_file(tensors, options.folder / "unet_call.safetensors")
    output = tensors["output"]
    print(json.dumps({"min": output.min().item(), "max": output.max().item(), "std": output.std().item()}))


if __name__ == "__main__":
    main()
