"""The networks with fresh weights, in the shapes of diffusers and transformers that Easel runs."""

import torch
import torch.nn as nn
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .settings import Preset

NOISE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    # The last timestep is pure noise, as every picture begins (arXiv:2305.08891).
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
}


def latent_side(preset: Preset) -> int:
    return preset.size // 2 ** (len(preset.autoencoder.block_out_channels) - 1)


def autoencoder(preset: Preset) -> AutoencoderKL:
    settings = preset.autoencoder
    levels = len(settings.block_out_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=settings.block_out_channels,
        layers_per_block=settings.layers_per_block,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.norm_num_groups,
        sample_size=preset.size,
    )


def text_encoder(preset: Preset, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    settings = preset.text
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden_size,
            intermediate_size=4 * settings.hidden_size,
            projection_dim=settings.hidden_size,
            num_hidden_layers=settings.num_hidden_layers,
            num_attention_heads=settings.num_attention_heads,
            max_position_embeddings=settings.max_position_embeddings,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            # As for the UNet, see `trainable`; on so few positions no slower elsewhere.
            attn_implementation="eager",
        )
    )
    # CLIP's own 0.02 is little for words that are seen some dozen times.
    nn.init.normal_(model.get_input_embeddings().weight, std=0.1)
    return model


def unet(preset: Preset) -> UNet2DConditionModel:
    settings = preset.denoiser
    down = ["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in settings.attention]
    up = ["CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(settings.attention)]
    return UNet2DConditionModel(
        sample_size=latent_side(preset),
        in_channels=preset.autoencoder.latent_channels,
        out_channels=preset.autoencoder.latent_channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        block_out_channels=settings.block_out_channels,
        layers_per_block=settings.layers_per_block,
        # diffusers takes the number of heads by this name.
        attention_head_dim=settings.heads,
        cross_attention_dim=preset.text.hidden_size,
        use_linear_projection=True,
    )


def trainable(unet: UNet2DConditionModel, device: torch.device) -> UNet2DConditionModel:
    """The UNet on `device`, as it trains fastest there."""
    if device.type == "cpu" and multiplies_bf16(device):
        # The fused attention's gradients in bf16 are several times slower on CPUs than separate products, and channels
        # that lie together cost a fifth there. In f32 both gain an eighth.
        unet.set_attn_processor(AttnProcessor())
        return unet.to(device)
    return unet.to(device, memory_format=torch.channels_last)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether bf16 is faster than f32: on GPUs, and on CPUs that have it (AMX, AVX-512)."""
    return device.type == "cuda" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


class Judge(nn.Module):
    """A convolutional classifier of pictures `[n, 3, size, size]` in -1..1."""

    def __init__(self, classes: int, width: int):
        super().__init__()
        channels = [3, width, 2 * width, 4 * width, 4 * width]
        blocks = []
        for inputs, outputs in zip(channels, channels[1:]):
            blocks += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
                nn.GroupNorm(4, outputs),
                nn.SiLU(),
                nn.Conv2d(outputs, outputs, 3, padding=1),
                nn.GroupNorm(4, outputs),
                nn.SiLU(),
            ]
        self.features = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.classes = nn.Linear(4 * channels[-1], classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits `[n, classes]`."""
        return self.classes(self.features(pictures))


def schedule() -> DDIMScheduler:
    """The noise that the UNet is trained on."""
    return DDIMScheduler(**NOISE, set_alpha_to_one=True, steps_offset=1)


def parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
