"""Stage `unet`: the denoiser, and with it the text encoder, on latents of the pool."""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import networks, pool
from .loop import Stage, autocast
from .pool import Pool
from .work import Work

VALIDATION = 64
# Timesteps are drawn as 1000 * u ** TIMESTEPS: rather more of the noisy ones, where text decides.
TIMESTEPS = 0.75


def scales(alphas: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """What the sample and the noise are multiplied with, `[n, 1, 1, 1]` each."""
    alpha = alphas[timesteps].view(-1, 1, 1, 1)
    return alpha.sqrt(), (1 - alpha).sqrt()


def noised(latents: Tensor, noise: Tensor, alphas: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """Noised latents and their velocity, which the UNet predicts."""
    signal, spread = scales(alphas, timesteps)
    return signal * latents + spread * noise, signal * noise - spread * latents


class Watch:
    """Measures the averaged networks on fixed latents and noise.

    The loss alone does not tell whether texts are read. This does: the loss with the right, no and another's caption
    where noise is high, and how much pictures predicted from pure noise differ between captions.
    """

    def __init__(self, drawn: Pool, alphas: Tensor, device: torch.device):
        count = min(VALIDATION, len(drawn.latents))
        generator = torch.Generator().manual_seed(5)
        self._latents = drawn.latents[:count].float()
        self._noise = torch.randn(self._latents.shape, generator=generator).to(device)
        self._ids, self._empty = drawn.ids[:count, 0].long(), drawn.empty.long().expand(count, -1)
        self._alphas, self._device, self._count = alphas, device, count

    @torch.no_grad()
    def report(self, unet: torch.nn.Module, text_encoder: torch.nn.Module) -> str:
        def loss(ids: Tensor, lowest: int, highest: int) -> float:
            timesteps = torch.linspace(lowest, highest, self._count, device=self._device).long()
            inputs, wanted = noised(self._latents, self._noise, self._alphas, timesteps)
            with autocast(self._device):
                found = unet(inputs, timesteps, text_encoder(ids).last_hidden_state).sample
            return float(F.mse_loss(found.float(), wanted))

        quarters = [loss(self._ids, 250 * i, 250 * i + 249) for i in range(4)]
        none, other = loss(self._empty, 750, 999), loss(self._ids.roll(1, 0), 750, 999)
        losses = " ".join(f"{value:.3f}" for value in quarters)
        spread = self._spread(unet, text_encoder)
        return f"by noise {losses}; no caption {none:.3f}, another's {other:.3f}; spread at t=999 {spread:.2f}"

    def _spread(self, unet: torch.nn.Module, text_encoder: torch.nn.Module) -> float:
        """Deviation between captions of what pure noise is predicted to be, as a part of that of the latents."""
        timesteps = torch.full((self._count,), 999, device=self._device)
        with autocast(self._device):
            found = unet(self._noise, timesteps, text_encoder(self._ids).last_hidden_state).sample
        return float(found.float().std(0).mean() / self._latents.std(0).mean())


def train(work: Work) -> None:
    """Trains UNet and text encoder and saves both. A UNet that the run has adopted learns on."""
    preset, drawn = work.preset, pool.read(work)
    settings = preset.denoiser
    adopted = (work.model / "unet").exists()
    first = work.unet().requires_grad_(True) if adopted else networks.unet(preset)
    unet = networks.trainable(first, work.device)
    text_encoder = work.text_encoder().requires_grad_(True)
    modules = {"unet": unet, "text_encoder": text_encoder}
    stage = Stage("unet", work.folder, settings.training, modules, {"text_encoder": settings.text_rate})
    work.seeded(stage.step)
    run = torch.compile(unet) if preset.compiled and work.device.type == "cuda" else unet
    alphas = networks.schedule().alphas_cumprod.to(work.device)
    batch = settings.training.batch

    def loss() -> dict[str, Tensor]:
        which = torch.randint(0, len(drawn.latents), (batch,), device=work.device)
        ids = drawn.captions(which)
        dropped = torch.rand(batch, device=work.device) < settings.dropped_captions
        ids = torch.where(dropped[:, None], drawn.empty.long(), ids)
        latents = drawn.latents[which].float()
        # Evenly spaced from a random start: every batch has all levels of noise.
        even = (torch.rand((), device=work.device) + torch.arange(batch, device=work.device) / batch) % 1
        timesteps = (even**TIMESTEPS * 1000).long().clamp(max=999)
        inputs, wanted = noised(latents, torch.randn_like(latents), alphas, timesteps)
        found = run(inputs, timesteps, text_encoder(ids).last_hidden_state).sample
        return {"velocity": F.mse_loss(found.float(), wanted)}

    watch = Watch(drawn, alphas, work.device)

    def report() -> str:
        for name, average in stage.averages.items():
            average.save_pretrained(work.folder / "unfinished" / name)
        return watch.report(stage.averages["unet"], stage.averages["text_encoder"])

    stage.train(loss, work.deadline, report)
    for name, average in stage.averages.items():
        average.save_pretrained(work.model / name)
    networks.schedule().save_pretrained(work.model / "scheduler")
    stage.forget()
