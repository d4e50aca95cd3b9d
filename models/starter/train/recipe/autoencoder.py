"""Stage `vae`: pictures to latents and back."""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import networks
from .loop import Stage
from .work import Work

# Luma and two chroma differences, weighted so that a wrong hue costs as much as a wrong brightness.
LUMA_CHROMA = ((0.48, 0.94, 0.18), (0.75, -0.75, 0.0), (-0.375, -0.375, 0.75))
GRADIENTS, COLOURS, KL = 0.5, 2.0, 1e-4
# Slopes are compared with those of so many pixels around; flat places count as if they were so steep.
AROUND, FAINT = 9, 0.05
# The first three channels of the latents begin as a small picture: an autoencoder without this anchor may
# become blind to colour and stay so.
ANCHOR_SCALE, ANCHOR_FIRST, ANCHOR_LAST = 1.5, 1.0, 0.2
# Part of the training that sees crops.
CROPPED = 0.75
VALIDATION_PICTURES = 32


def reconstruction_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """L1 of pictures `[n, 3, h, w]` in luma and chroma at two scales, of their edges, and of 4x4 means."""
    difference = torch.einsum("oc,nchw->nohw", found.new_tensor(LUMA_CHROMA), found - wanted)
    loss = COLOURS * F.avg_pool2d(difference, 4).abs().mean()
    for weight, scaled in ((1.0, difference), (0.5, F.avg_pool2d(difference, 2))):
        edges = scaled.diff(dim=-1).abs().mean() + scaled.diff(dim=-2).abs().mean()
        loss = loss + weight * (scaled.abs().mean() + GRADIENTS * edges)
    return loss


def slopes(pictures: Tensor) -> Tensor:
    """How steep each pixel of `[n, c, h, w]` is, to the right and down together."""
    across, down = F.pad(pictures.diff(dim=-1), (0, 1)), F.pad(pictures.diff(dim=-2), (0, 0, 0, 1))
    # A root has no gradient at zero.
    return (across.square() + down.square() + 1e-4).sqrt()


def faint_lines_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """How far slopes of pictures are apart, each against how steep all is around it: an eye in a pale face is fainter than
    the face's outline."""
    around = F.avg_pool2d(slopes(wanted).mean(1, keepdim=True), AROUND, 1, AROUND // 2)
    weight = 1 / (FAINT + around)
    return (weight / weight.mean() * slopes(found - wanted)).mean()


def cropped(pictures: Tensor, side: int) -> Tensor:
    """Pieces of `side` pixels, from the same random place of every picture."""
    top, left = (int(torch.randint(0, pictures.shape[-1] - side + 1, ())) for _ in range(2))
    return pictures[..., top : top + side, left : left + side]


def cropped_both(latents: Tensor, pictures: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Pieces of `side` pixels, from the same random place of every picture and of its latents."""
    factor = pictures.shape[-1] // latents.shape[-1]
    across, down = (int(torch.randint(0, latents.shape[-1] - side // factor + 1, ())) for _ in range(2))

    def piece(values: Tensor, scale: int) -> Tensor:
        top, left, size = scale * down, scale * across, side // factor * scale
        return values[..., top : top + size, left : left + size]

    return piece(latents, 1), piece(pictures, factor)


def held_out(work: Work) -> Tensor:
    """Renders that no training sees, for `psnr` of stages on their way."""
    scenes = work.data.scenes(1)
    return work.renderer().pictures([scenes.scene() for _ in range(VALIDATION_PICTURES)])


@torch.no_grad()
def psnr(model, pictures: Tensor) -> float:
    """Mean peak signal-to-noise ratio in decibels of reconstructed pictures in -1..1."""
    squares = []
    for batch in pictures.split(16):
        found = model.decode(model.encode(batch).latent_dist.mean).sample.clamp(-1, 1)
        squares.append((found.float() - batch).square().mean((1, 2, 3)))
    return float((10 * torch.log10(4 / torch.cat(squares))).mean())


def train(work: Work) -> None:
    """Trains the autoencoder and saves it with the scale that gives latents unit variance."""
    preset, renderer = work.preset, work.renderer()
    model = networks.autoencoder(preset).to(work.device, memory_format=torch.channels_last)
    stage = Stage("vae", work.folder, preset.autoencoder.training, {"vae": model})
    scenes = work.data.scenes(work.seeded(stage.step))
    validation = held_out(work)
    factor = 2 ** (len(preset.autoencoder.block_out_channels) - 1)

    def loss() -> dict[str, Tensor]:
        pictures = renderer.pictures([scenes.scene() for _ in range(preset.autoencoder.training.batch)])
        if preset.autoencoder.crop and stage.fraction < CROPPED:
            pictures = cropped(pictures, preset.autoencoder.crop)
        latents = model.encode(pictures).latent_dist
        found = model.decode(latents.sample()).sample
        thumbnails = ANCHOR_SCALE * F.avg_pool2d(pictures, factor)
        anchor = ANCHOR_FIRST + (ANCHOR_LAST - ANCHOR_FIRST) * stage.fraction
        return {
            "picture": reconstruction_loss(found.float(), pictures),
            "anchor": anchor * F.mse_loss(latents.mean[:, :3].float(), thumbnails),
            "kl": KL * latents.kl().mean() / latents.mean[0].numel(),
        }

    best = stage.averages["vae"]
    stage.train(loss, work.deadline, lambda: f"PSNR {psnr(best, validation):.2f} dB")
    with torch.no_grad():
        latents = torch.cat([best.encode(batch).latent_dist.mean for batch in validation.split(16)])
    best.register_to_config(scaling_factor=float(1 / latents.std()))
    best.save_pretrained(work.model / "vae")
    stage.forget()
