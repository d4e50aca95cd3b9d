"""Tiny pipelines of the Stable Diffusion family with random weights, in diffusers layout.

Everything is random, also norms and biases, so that nothing is 0 or 1 by luck. The last convolutions are fitted, so
that sampling stays in a sane range: the UNet's predicts the noise (or the velocity) of noised smooth fields as well as
random features can, the decoder's gives pictures of a fair contrast.
"""

import dataclasses
import json
import shutil

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import tokenizers_made

CROSS_DOWN, DOWN, UP, CROSS_UP = "CrossAttnDownBlock2D", "DownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
UNET_FILE = "diffusion_pytorch_model"


@dataclasses.dataclass
class Model:
    """What makes a model of the list; defaults are Stable Diffusion 1's habits."""

    seed: int
    channels: tuple = (16, 32)
    layers: int = 2
    groups: int = 8
    sharpness: float = 2.0  # of attention; many sharp layers in a row would blow rounding up
    heads: int | tuple = 4  # attention_head_dim, which in these configs is the number of heads
    down: tuple = (CROSS_DOWN, DOWN)
    up: tuple = (UP, CROSS_UP)
    mid: str | None = "UNetMidBlock2DCrossAttn"
    linear: bool = False
    time_cond: int | None = None
    hidden: int = 16
    text_layers: int = 2
    activation: str = "quick_gelu"
    positions: int = 77
    pad: str = "<|endoftext|>"
    tokenizer_files: tuple = ("vocab",)
    vae_channels: tuple = (8, 16)
    tiny_vae: bool = False
    prediction: str = "epsilon"
    scheduler: object = None
    prefix: bool = True  # keys as transformers 4 wrote them
    position_ids: bool = False  # as early checkpoints carry them
    legacy_vae: bool = False
    inpaints: bool = False  # mask and masked picture as inputs
    half: bool = False  # fp16 variant
    sharded: bool = False
    bf16_text: bool = False
    hidden_2: int | None = None  # of SDXL's second text encoder; the fields below go with it
    projection: int = 10
    time_embed: int = 6
    eos: int | None = None  # published SDXL says 2, which means the highest id of a text
    depths: tuple = (1, 1, 2)
    reverse_depths: tuple | None = None
    zeros: bool = True
    vae_scale: float = 0.18215

    @property
    def text_width(self):
        return self.hidden + (self.hidden_2 or 0)


def stable_scheduler():
    return PNDMScheduler(**BETAS, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)


def zero_snr_scheduler():
    return DDIMScheduler(
        **BETAS, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing",
        clip_sample=False, set_alpha_to_one=True, steps_offset=1,
    )


LEADING = {"timestep_spacing": "leading", "steps_offset": 1}
XL = {
    "channels": (8, 16, 16), "groups": 4, "heads": (1, 2, 4), "sharpness": 1.0, "linear": True,
    "down": (DOWN, CROSS_DOWN, CROSS_DOWN), "up": (CROSS_UP, CROSS_UP, UP), "hidden": 8, "hidden_2": 12,
    "vae_channels": (4, 8), "vae_scale": 0.13025, "half": True,
}
MODELS = {
    "sd1": Model(seed=1, position_ids=True),
    "sd1-legacy": Model(
        seed=2, channels=(16, 24), layers=1, prefix=False, legacy_vae=True, tokenizer_files=("vocab", "tokenizer"),
    ),
    "sd2": Model(
        seed=3, heads=(2, 4), linear=True, activation="gelu", hidden=24, pad="!",
        tokenizer_files=("vocab", "tokenizer"),
        scheduler=lambda: EulerDiscreteScheduler(**BETAS, timestep_spacing="trailing", steps_offset=1),
    ),
    "sd2-v": Model(
        seed=4, layers=1, heads=(1, 2), linear=True, activation="gelu", hidden=32, pad="!", prediction="v_prediction",
        scheduler=zero_snr_scheduler, vae_channels=(8, 16, 16),
    ),
    "bk": Model(
        seed=5, channels=(16, 24, 32), layers=1, heads=8, mid=None, down=(CROSS_DOWN,) * 3, up=(CROSS_UP,) * 3,
        positions=24, tokenizer_files=("tokenizer",), bf16_text=True,
    ),
    "lcm": Model(
        seed=6, layers=1, time_cond=12,
        scheduler=lambda: LCMScheduler(**BETAS, original_inference_steps=50, set_alpha_to_one=True, steps_offset=0),
    ),
    "taesd": Model(seed=7, channels=(16, 24), layers=1, tiny_vae=True),
    "inpainting": Model(seed=12, channels=(16, 24), layers=1, inpaints=True, tokenizer_files=("tokenizer",)),
    "fp16": Model(seed=8, layers=1, half=True, sharded=True),
    "sdxl": Model(
        seed=9, **XL, layers=2, eos=2, scheduler=lambda: EulerDiscreteScheduler(**BETAS, **LEADING),
        tokenizer_files=("vocab",),
    ),
    "sdxl-turbo": Model(
        seed=10, **XL, layers=1, zeros=False,
        scheduler=lambda: EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing", steps_offset=1),
        tokenizer_files=("tokenizer",),
    ),
    "ssd-1b": Model(
        seed=11, **XL, layers=2, mid="UNetMidBlock2D", depths=(1, (1, 2), (0, 1)),
        reverse_depths=((1, 0, 2), (2, 1, 1), 1),
        scheduler=lambda: EulerDiscreteScheduler(**BETAS, **LEADING), tokenizer_files=("vocab",),
    ),
}


def randomise(module, seed, sharpness=2.0):
    generator = torch.Generator().manual_seed(seed)

    def normal(parameter, scale, mean=0.0):
        parameter.copy_(mean + scale * torch.randn(parameter.shape, generator=generator))

    with torch.no_grad():
        for name, part in module.named_modules():
            for leaf, parameter in part.named_parameters(recurse=False):
                if isinstance(part, (nn.GroupNorm, nn.LayerNorm)):
                    normal(parameter, 0.1, mean=1.0 if leaf == "weight" else 0.0)
                elif leaf == "bias":
                    normal(parameter, 0.05)
                elif isinstance(part, nn.Embedding):
                    normal(parameter, 0.5 if "token" in name else 0.1)
                else:
                    sharp = any(name.endswith(end) for end in ("to_q", "to_k", "q_proj", "k_proj"))
                    gain = sharpness if sharp else 0.35 if name.endswith("attn2.to_out.0") else 1.0
                    normal(parameter, gain / parameter[0].numel() ** 0.5)
    return module.eval()


def make_unet(model):
    return UNet2DConditionModel(
        sample_size=16, in_channels=9 if model.inpaints else 4, block_out_channels=model.channels, layers_per_block=model.layers, norm_num_groups=model.groups,
        down_block_types=model.down, up_block_types=model.up, mid_block_type=model.mid,
        attention_head_dim=list(model.heads) if isinstance(model.heads, tuple) else model.heads,
        use_linear_projection=model.linear, cross_attention_dim=model.text_width, time_cond_proj_dim=model.time_cond,
        **(xl_arguments(model) if model.hidden_2 else {}),
    )


def xl_arguments(model):
    lists = [value and [list(stage) if isinstance(stage, tuple) else stage for stage in value]
             for value in (model.depths, model.reverse_depths)]
    return {
        "transformer_layers_per_block": lists[0], "reverse_transformer_layers_per_block": lists[1],
        "addition_embed_type": "text_time", "addition_time_embed_dim": model.time_embed,
        "projection_class_embeddings_input_dim": model.projection + 6 * model.time_embed,
    }


def make_vae(model):
    if model.tiny_vae:
        return AutoencoderTiny(
            encoder_block_out_channels=(16, 16, 16), decoder_block_out_channels=(16, 16, 16),
            num_encoder_blocks=(1, 2, 2), num_decoder_blocks=(2, 2, 1),
        )
    stages = len(model.vae_channels)
    return AutoencoderKL(
        block_out_channels=model.vae_channels, layers_per_block=1, norm_num_groups=4, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * stages, up_block_types=("UpDecoderBlock2D",) * stages,
        sample_size=32, scaling_factor=model.vae_scale,
    )


def text_config(model, vocab, **changes):
    hidden = changes.get("hidden_size", model.hidden)
    return CLIPTextConfig(**{
        "vocab_size": vocab, "max_position_embeddings": model.positions, "hidden_size": hidden,
        "projection_dim": hidden, "intermediate_size": 2 * hidden, "num_hidden_layers": model.text_layers,
        "num_attention_heads": 2, "hidden_act": model.activation, "bos_token_id": vocab - 2,
        "eos_token_id": vocab - 1, "pad_token_id": 1, **changes,
    })


def make_text_encoder(model, vocab):
    return CLIPTextModel(text_config(model, vocab))


def make_text_encoder_2(model, vocab):
    return CLIPTextModelWithProjection(text_config(
        model, vocab, hidden_size=model.hidden_2, num_hidden_layers=model.text_layers + 1, hidden_act="gelu",
        projection_dim=model.projection, eos_token_id=model.eos or vocab - 1,
    ))


@torch.no_grad()
def fit_unet(unet, model):
    """Solves for `conv_out` by ridge regression over noised smooth fields."""
    generator = torch.Generator().manual_seed(model.seed)
    alphas = torch.cumprod(1 - torch.linspace(BETAS["beta_start"] ** 0.5, BETAS["beta_end"] ** 0.5, 1000) ** 2, 0)
    features, targets = [], []
    hook = unet.conv_out.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    for _ in range(8):
        coarse = torch.randn(4, 4, 4, 4, generator=generator)
        smooth = nn.functional.interpolate(coarse, size=(16, 16), mode="bicubic")
        noise = torch.randn(4, 4, 16, 16, generator=generator)
        timesteps = torch.randint(0, 1000, (4,), generator=generator)
        a, s = (root.view(-1, 1, 1, 1) for root in (alphas[timesteps].sqrt(), (1 - alphas[timesteps]).sqrt()))
        text = torch.randn(4, model.positions, model.text_width, generator=generator)
        cond = torch.randn(4, model.time_cond, generator=generator) if model.time_cond else None
        added = {
            "text_embeds": torch.randn(4, model.projection, generator=generator),
            "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]] * 4),
        } if model.hidden_2 else None
        sample = a * smooth + s * noise
        if model.inpaints:
            mask = (torch.rand(4, 1, 16, 16, generator=generator) < 0.5).float()
            sample = torch.cat([sample, mask, smooth * (1 - mask)], 1)
        unet(sample, timesteps, text, timestep_cond=cond, added_cond_kwargs=added)
        target = a * noise - s * smooth if model.prediction == "v_prediction" else noise
        targets.append(target.permute(0, 2, 3, 1).reshape(-1, 4))
    hook.remove()
    columns = [nn.functional.unfold(f, 3, padding=1).transpose(1, 2).flatten(0, 1) for f in features]
    x = torch.cat(columns).double()
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    gram = x.T @ x
    gram += 1e-3 * gram.diagonal().mean() * torch.eye(len(gram))
    solution = torch.linalg.solve(gram, x.T @ torch.cat(targets).double()).float()
    unet.conv_out.weight.copy_(solution[:-1].T.reshape(unet.conv_out.weight.shape))
    unet.conv_out.bias.copy_(solution[-1])


@torch.no_grad()
def fit_decoder(vae, model):
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(model.seed))
    last = vae.decoder.layers[-1] if model.tiny_vae else vae.decoder.conv_out
    scale = 0.4 / vae.decode(latents / vae.config.scaling_factor).sample.std()
    for parameter in last.parameters():
        parameter *= scale
    if model.tiny_vae:
        last.bias += 0.5  # it decodes to 0..1


def build(model):
    tokenizer = tokenizers_made.make_tokenizer(model.pad, model.positions)
    unet = randomise(make_unet(model), 100 * model.seed, model.sharpness)
    vae = randomise(make_vae(model), 100 * model.seed + 1)
    vocab = len(tokenizers_made.vocabulary()[0])
    text_encoder = randomise(make_text_encoder(model, vocab), 100 * model.seed + 2)
    fit_unet(unet, model)
    fit_decoder(vae, model)
    if model.hidden_2:
        return StableDiffusionXLPipeline(
            vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=model.scheduler(),
            text_encoder_2=randomise(make_text_encoder_2(model, vocab), 100 * model.seed + 3),
            tokenizer_2=tokenizers_made.make_tokenizer("!", model.positions),
            force_zeros_for_empty_prompt=model.zeros, add_watermarker=False,
        )
    cls = LatentConsistencyModelPipeline if model.time_cond else StableDiffusionPipeline
    if model.inpaints:
        cls = StableDiffusionInpaintPipeline
    return cls(
        vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet,
        scheduler=(model.scheduler or stable_scheduler)(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )


def rewrite(path, change):
    """Saves a weight file again after `change` of its tensors."""
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def with_prefix(tensors):
    kept = ("text_model.", "text_projection.")
    return {key if key.startswith(kept) else "text_model." + key: value for key, value in tensors.items()}


def with_position_ids(tensors):
    count = tensors["text_model.embeddings.position_embedding.weight"].shape[0]
    return {**tensors, "text_model.embeddings.position_ids": torch.arange(count)[None]}


def with_legacy_attention(tensors):
    names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    for new, old in names.items():
        tensors = {key.replace(new, old): value for key, value in tensors.items()}
    return tensors


def save(name, folder):
    model = MODELS[name]
    pipe = build(model)
    shutil.rmtree(folder, ignore_errors=True)
    variant = "fp16" if model.half else None
    if model.half:
        pipe.to(dtype=torch.float16)
    pipe.save_pretrained(folder, variant=variant)
    if model.sharded:
        for file in (folder / "unet").glob("*.safetensors"):
            file.unlink()
        pipe.unet.save_pretrained(folder / "unet", variant=variant, max_shard_size="100KB")
    text = next((folder / "text_encoder").glob("*.safetensors"))
    if model.prefix:
        rewrite(text, with_prefix)
    if model.prefix and model.hidden_2:
        rewrite(next((folder / "text_encoder_2").glob("*.safetensors")), with_prefix)
    if model.position_ids:
        rewrite(text, with_position_ids)
    if model.bf16_text:
        rewrite(text, lambda tensors: {key: value.bfloat16() for key, value in tensors.items()})
    if model.legacy_vae:
        rewrite(folder / "vae" / f"{UNET_FILE}.safetensors", with_legacy_attention)
    for file in folder.rglob("*.*"):
        file.chmod(0o644)
    tokenizers_made.write_files(folder / "tokenizer", model.pad, model.tokenizer_files)
    if model.hidden_2:
        tokenizers_made.write_files(folder / "tokenizer_2", "!", model.tokenizer_files)


def describe(folder):
    """Bytes of weights and number formats, for a look while generating."""
    formats, size = set(), 0
    for file in sorted(folder.rglob("*.safetensors")):
        size += file.stat().st_size
        with safe_open(file, "pt") as tensors:
            formats |= {str(tensors.get_slice(key).get_dtype()) for key in tensors.keys()}
    shards = [file.name for file in folder.rglob("*.index*.json")]
    return json.dumps({"weights": size, "formats": sorted(formats), "shards": shards})
