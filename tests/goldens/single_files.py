"""Single-file checkpoints: which tensor of a model in diffusers layout goes where, and what real ones look like.

The names are written from latent diffusion's side here; that they are right is shown by diffusers' own converters,
which must give the model back.
"""

import hashlib
import json
import re

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
    infer_diffusers_model_type,
)
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

UNET, VAE = "model.diffusion_model.", "first_stage_model."
RESNET = {
    "norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "time_emb_proj.": "emb_layers.1.", "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.", "conv_shortcut.": "skip_connection.",
}
UNET_OUTSIDE = {
    "time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.": "time_embed.2.",
    "time_embedding.cond_proj.": "time_embed.cond_proj.", "add_embedding.linear_1.": "label_emb.0.0.",
    "add_embedding.linear_2.": "label_emb.0.2.", "conv_in.": "input_blocks.0.0.", "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
}
VAE_ATTENTION = {"group_norm.": "norm.", "to_q.": "q.", "to_k.": "k.", "to_v.": "v.", "to_out.0.": "proj_out."}
OPEN_CLIP = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight", "final_layer_norm.": "ln_final.",
}
OPEN_CLIP_LAYER = {
    "layer_norm1.": "ln_1.", "layer_norm2.": "ln_2.", "mlp.fc1.": "mlp.c_fc.", "mlp.fc2.": "mlp.c_proj.",
    "self_attn.out_proj.": "attn.out_proj.",
}


def swap(name, table):
    """`name` with the first prefix of the table that it has exchanged."""
    return next((new + name[len(old):] for old, new in table.items() if name.startswith(old)), name)


def unet_name(name, config):
    down = len(config["down_block_types"])
    layers = config["layers_per_block"]
    attends = ["CrossAttn" in block for block in config["up_block_types"]]
    parts = name.split(".", 4)
    match parts:
        case ["down_blocks", stage, "resnets" | "attentions" as kind, number, rest]:
            block = 1 + int(stage) * (layers + 1) + int(number)
            member = "0." + swap(rest, RESNET) if kind == "resnets" else f"1.{rest}"
            return f"input_blocks.{block}.{member}"
        case ["down_blocks", stage, "downsamplers", _, rest]:
            return f"input_blocks.{(int(stage) + 1) * (layers + 1)}.0.op.{rest.removeprefix('conv.')}"
        case ["mid_block", "resnets" | "attentions" as kind, number, *rest]:
            rest = ".".join(rest)
            if kind == "attentions":
                return f"middle_block.1.{rest}"
            return f"middle_block.{2 * int(number)}.{swap(rest, RESNET)}"
        case ["up_blocks", stage, "resnets" | "attentions" as kind, number, rest]:
            block = int(stage) * (layers + 1) + int(number)
            member = "0." + swap(rest, RESNET) if kind == "resnets" else f"1.{rest}"
            return f"output_blocks.{block}.{member}"
        case ["up_blocks", stage, "upsamplers", _, rest]:
            block = int(stage) * (layers + 1) + layers
            assert int(stage) < down - 1
            return f"output_blocks.{block}.{2 if attends[int(stage)] else 1}.{rest}"
    return swap(name, UNET_OUTSIDE)


def vae_name(name, stages):
    side, rest = name.split(".", 1)
    if side not in ("encoder", "decoder"):
        return name
    match rest.split(".", 4):
        case ["mid_block", "attentions", _, *more]:
            rest = "mid.attn_1." + swap(".".join(more), VAE_ATTENTION)
        case ["mid_block", "resnets", number, *more]:
            rest = f"mid.block_{int(number) + 1}." + ".".join(more)
        case ["down_blocks", stage, "resnets", number, more]:
            rest = f"down.{stage}.block.{number}.{more}"
        case ["down_blocks", stage, "downsamplers", _, more]:
            rest = f"down.{stage}.downsample.{more}"
        case ["up_blocks", stage, "resnets", number, more]:
            rest = f"up.{stages - 1 - int(stage)}.block.{number}.{more}"
        case ["up_blocks", stage, "upsamplers", _, more]:
            rest = f"up.{stages - 1 - int(stage)}.upsample.{more}"
    return f"{side}." + rest.replace("conv_norm_out.", "norm_out.").replace("conv_shortcut.", "nin_shortcut.")


class Checkpoint:
    """Tensors by their names in a single file, with the tensors of the parts that each is made of."""

    def __init__(self):
        self.tensors = {}
        self.recipe = []

    def add(self, name, how, sources, tensor):
        assert name not in self.tensors, name
        self.tensors[name] = tensor
        self.recipe.append(" ".join([name, how, *sources]))

    def unet(self, tensors, config):
        for name, tensor in tensors.items():
            self.add(UNET + unet_name(name, config), "copy", [f"unet/{name}"], tensor)
        found = convert_ldm_unet_checkpoint(self.tensors, config)
        # Diffusers' converter does not know latent consistency models in one file.
        same(found, {name: tensor for name, tensor in tensors.items() if "cond_proj" not in name})

    def vae(self, tensors, config):
        for name, tensor in tensors.items():
            matrix = ".attentions." in name and tensor.dim() == 2
            stored = tensor[:, :, None, None] if matrix else tensor
            new = VAE + vae_name(name, len(config["block_out_channels"]))
            self.add(new, "convolution" if matrix else "copy", [f"vae/{name}"], stored)
        same(convert_ldm_vae_checkpoint(self.tensors, config), tensors)

    def clip(self, tensors, prefix, part="text_encoder"):
        for name, tensor in tensors.items():
            self.add(prefix + name, "copy", [f"{part}/{name}"], tensor)
        same(convert_ldm_clip_checkpoint(self.tensors), tensors)

    def open_clip(self, tensors, prefix, model, part="text_encoder"):
        for name, tensor in tensors.items():
            bare = name.removeprefix("text_model.")
            layer = re.match(r"encoder\.layers\.(\d+)\.(.*)", bare)
            source = f"{part}/{name}"
            if bare == "text_projection.weight":
                self.add(prefix + "text_projection", "transpose", [source], tensor.T.contiguous())
            elif not layer:
                self.add(prefix + swap(bare, OPEN_CLIP), "copy", [source], tensor)
            elif "self_attn.q_proj." in bare:
                names = [name.replace("q_proj", projection) for projection in ("q_proj", "k_proj", "v_proj")]
                new = f"transformer.resblocks.{layer[1]}.attn.in_proj_{name.rsplit('.', 1)[1]}"
                sources = [f"{part}/{name}" for name in names]
                self.add(prefix + new, "rows", sources, torch.cat([tensors[name] for name in names]))
            elif "k_proj" not in bare and "v_proj" not in bare:
                new = f"transformer.resblocks.{layer[1]}.{swap(layer[2], OPEN_CLIP_LAYER)}"
                self.add(prefix + new, "copy", [source], tensor)
        same(convert_open_clip_checkpoint(model, self.tensors, prefix=prefix), tensors)


def same(found, expected):
    found = {name: tensor for name, tensor in found.items() if not name.endswith("position_ids")}
    expected = {name: tensor for name, tensor in expected.items() if not name.endswith("position_ids")}
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    for name, tensor in expected.items():
        assert found[name].shape == tensor.shape, name
        assert tensor.is_meta or torch.equal(found[name], tensor), name


def part(folder, name):
    """Tensors of a part, by the names in its files."""
    return {key: tensor for file in sorted((folder / name).glob("*.safetensors")) for key, tensor in load_file(file).items()}


def of_model(folder):
    """The single file of a tiny model."""
    half = any(folder.rglob("*.fp16.safetensors"))
    pipe = DiffusionPipeline.from_pretrained(folder, variant="fp16" if half else None)
    checkpoint = Checkpoint()
    checkpoint.unet(part(folder, "unet"), pipe.unet.config)
    checkpoint.vae(part(folder, "vae"), pipe.vae.config)
    text = part(folder, "text_encoder")
    second = getattr(pipe, "text_encoder_2", None)
    if second is not None:
        checkpoint.clip(text, "conditioner.embedders.0.transformer.")
        prefix = "conditioner.embedders.1.model."
        checkpoint.open_clip(part(folder, "text_encoder_2"), prefix, second, "text_encoder_2")
    elif pipe.text_encoder.config.hidden_act == "gelu":
        checkpoint.open_clip(text, "cond_stage_model.model.", pipe.text_encoder)
    else:
        checkpoint.clip(text, "cond_stage_model.transformer.")
    return checkpoint


CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
UP = {"CrossAttnDownBlock2D": "CrossAttnUpBlock2D", "DownBlock2D": "UpBlock2D"}


def unet_config(down, **changes):
    return {"down_block_types": down, "up_block_types": [UP[block] for block in reversed(down)], **changes}


SD1_UNET = unet_config([CROSS, CROSS, CROSS, PLAIN], sample_size=64, cross_attention_dim=768, attention_head_dim=8)
# As the published models have them.
FULL_SIZE = {
    "sd1": {
        "type": "v1", "unet": SD1_UNET,
        "text_encoder": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    },
    "sd1-inpainting": {
        "type": "inpainting", "unet": {**SD1_UNET, "in_channels": 9},
        "text_encoder": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    },
    "sd2": {
        "type": "v2",
        "unet": unet_config(
            [CROSS, CROSS, CROSS, PLAIN], sample_size=64, cross_attention_dim=1024, attention_head_dim=[5, 10, 20, 20],
            use_linear_projection=True,
        ),
        "text_encoder": {
            "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 23,
            "hidden_act": "gelu",
        },
    },
    "sdxl": {
        "type": "xl_base",
        "unet": unet_config(
            [PLAIN, CROSS, CROSS], sample_size=128, cross_attention_dim=2048, attention_head_dim=[5, 10, 20],
            block_out_channels=[320, 640, 1280], use_linear_projection=True, transformer_layers_per_block=[1, 2, 10],
            addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        ),
        "text_encoder": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
        "text_encoder_2": {
            "hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32,
            "hidden_act": "gelu", "projection_dim": 1280,
        },
        "scaling_factor": 0.13025,
    },
}


def full_size(name):
    """Names and shapes of a published kind of checkpoint, and the configs that it means."""
    kind = FULL_SIZE[name]
    text_config = CLIPTextConfig(**kind["text_encoder"])
    with torch.device("meta"):
        unet = UNet2DConditionModel(**kind["unet"])
        vae = AutoencoderKL(
            block_out_channels=[128, 256, 512, 512], layers_per_block=2, down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4, scaling_factor=kind.get("scaling_factor", 0.18215),
        )
        text = CLIPTextModel(text_config)
    parts = {"unet": unet.state_dict(), "vae": vae.state_dict(), "text_encoder": with_prefix(text.state_dict())}
    configs = {"unet": unet.config, "vae": vae.config, "text_encoder": text_config.to_dict()}
    checkpoint = Checkpoint()
    checkpoint.unet(parts["unet"], unet.config)
    checkpoint.vae(parts["vae"], vae.config)
    if "text_encoder_2" in kind:
        config = CLIPTextConfig(**kind["text_encoder_2"])
        with torch.device("meta"):
            second = CLIPTextModelWithProjection(config)
        configs["text_encoder_2"] = config.to_dict()
        parts["text_encoder_2"] = with_prefix(second.state_dict())
        checkpoint.clip(parts["text_encoder"], "conditioner.embedders.0.transformer.")
        prefix = "conditioner.embedders.1.model."
        checkpoint.open_clip(parts["text_encoder_2"], prefix, second, "text_encoder_2")
        checkpoint.tensors[prefix + "logit_scale"] = torch.empty([], device="meta")
    elif text_config.hidden_act == "gelu":
        prefix = "cond_stage_model.model."
        checkpoint.open_clip(parts["text_encoder"], prefix, text)
        last = {key: tensor for key, tensor in checkpoint.tensors.items() if ".resblocks.22." in key}
        checkpoint.tensors |= {key.replace(".22.", ".23."): tensor for key, tensor in last.items()}
        checkpoint.tensors[prefix + "text_projection"] = torch.empty([1024, 1024], device="meta")
        assert convert_open_clip_checkpoint(text, checkpoint.tensors, prefix=prefix).keys() == parts["text_encoder"].keys()
    else:
        checkpoint.clip(parts["text_encoder"], "cond_stage_model.transformer.")
    assert infer_diffusers_model_type(checkpoint.tensors) == kind["type"]
    return {
        "tensors": {key: list(tensor.shape) for key, tensor in sorted(checkpoint.tensors.items())},
        "parts": {key: digest(tensors) for key, tensors in parts.items()},
        "configs": json.loads(json.dumps(configs, default=dict)),
    }


def with_prefix(tensors):
    outside = ("text_model.", "text_projection.")
    return {key if key.startswith(outside) else "text_model." + key: tensor for key, tensor in tensors.items()}


def digest(tensors):
    """SHA-256 over the sorted lines `name shape`."""
    lines = sorted(f"{name} {'x'.join(map(str, tensor.shape))}\n" for name, tensor in tensors.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write(folder, models, names):
    folder.mkdir(exist_ok=True)
    for name in names:
        recipe = sorted(of_model(models / name).recipe)
        (folder / f"{name}.recipe").write_text("\n".join(recipe) + "\n")
    for name in FULL_SIZE:
        (folder / f"{name}.json").write_text(json.dumps(full_size(name), separators=(",", ":")) + "\n")
