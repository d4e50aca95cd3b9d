"""Stage `nearest`: the student learns from renders, no more from its teacher.

It draws captions by its own few steps. Of many renders that fit a caption, the one nearest to what it drew becomes the
goal of the whole way there (implicit maximum likelihood estimation, arXiv:1809.09087, with the caption given): a thing
may be here or a little to the left, and the mean of both is a blur, but the nearer one is sharp and near. Each step
shall end on the line from the noise that the way began with to that goal.
"""

import random
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from . import networks
from .loop import Stage
from .paths import angles, stepped, velocity_to
from .rendering import Renderer
from .scenes import Scene, SceneMaker
from .work import Work

# Renders among which the nearest is sought: first ones at random, then ones that differ from the best by so much of the
# picture's side. They are as small as latents, and means of pictures of twice that side.
CANDIDATES, NEARER, FINER = 48, (0.03, 0.01), 2
# Part of the batches that take other numbers of steps than the student's own, and which.
OTHER_STEPS, STEPS = 0.25, (2, 3, 6, 8)
# Renders from which it is learnt how latents look.
LOOKED_AT = 128


class Search:
    """Seeks renders near latents. Latents are compared by their colours, a linear function of each pixel's channels
    (the autoencoder's training anchors them to it)."""

    def __init__(self, scenes: SceneMaker, small: Renderer, pictures: Tensor, latents: Tensor):
        """`pictures` and their `latents` are the examples by which colours are learnt."""
        self._scenes, self._small = scenes, small
        colors = F.avg_pool2d(pictures, pictures.shape[-1] // latents.shape[-1])
        flat = [values.permute(0, 2, 3, 1).flatten(0, 2) for values in (latents, colors)]
        self._colors = torch.linalg.lstsq(F.pad(flat[0], (0, 1), value=1.0), flat[1]).solution

    def nearest(self, scenes: list[Scene], latents: Tensor) -> list[Scene]:
        """The scenes with their things moved and scaled so that renders of them are near the latents `[n, c, h, w]`."""
        wanted = torch.einsum("nchw,cd->ndhw", F.pad(latents, (0, 0, 0, 0, 0, 1), value=1.0), self._colors)
        found = self._best([[self._scenes.again(scene) for _ in range(CANDIDATES)] for scene in scenes], wanted)
        for distance in NEARER:
            moved = [[scene, *(self._moved(scene, distance) for _ in range(CANDIDATES - 1))] for scene in found]
            found = self._best(moved, wanted)
        return found

    def _moved(self, scene: Scene, distance: float) -> Scene:
        def near(value: float) -> float:
            return value + self._scenes.rng.uniform(-distance, distance)

        things = [replace(thing, x=near(thing.x), y=near(thing.y), size=near(thing.size)) for thing in scene.things]
        return replace(scene, things=tuple(things))

    def _best(self, candidates: list[list[Scene]], wanted: Tensor) -> list[Scene]:
        """Of the candidates for each picture the best first thing, the best second one and so on, in one scene."""
        renders = F.avg_pool2d(self._small.pictures([scene for some in candidates for scene in some]), FINER)
        errors = (renders.unflatten(0, (len(wanted), -1)) - wanted[:, None]).square().sum(2)
        return [self._joined(some, error) for some, error in zip(candidates, errors)]

    def _joined(self, candidates: list[Scene], errors: Tensor) -> Scene:
        """`errors` `[candidates, h, w]` count for the thing that is nearest to them."""
        things, side = candidates[0].things, errors.shape[-1]
        middles = torch.tensor([(thing.x, thing.y) for thing in things], device=errors.device)
        pixels = (torch.arange(side, device=errors.device) + 0.5) / side
        across, down = pixels - middles[:, :1], pixels - middles[:, 1:]
        owner = (across.square()[:, None] + down.square()[:, :, None]).argmin(0)
        best = [int((errors * (owner == slot)).sum((1, 2)).argmin()) for slot in range(len(things))]
        return replace(candidates[0], things=tuple(candidates[b].things[slot] for slot, b in enumerate(best)))


def train(work: Work) -> None:
    """Trains the student's UNet on and saves it."""
    preset, data, settings = work.preset, work.data, work.preset.nearest
    model = networks.trainable(work.few_step_unet().requires_grad_(True), work.device)
    stage = Stage("nearest", work.folder, settings, {"unet": model})
    seed = work.seeded(stage.step)
    scenes, captions, rng = data.scenes(seed, preset.kinds), data.captions(seed, shared=False), random.Random(seed)
    text_encoder, autoencoder, renderer = work.text_encoder(), work.autoencoder(), work.renderer()
    side, channels = networks.latent_side(preset), preset.autoencoder.latent_channels

    @torch.no_grad()
    def encoded(pictures: Tensor) -> Tensor:
        return autoencoder.encode(pictures).latent_dist.mean * autoencoder.config.scaling_factor

    examples = renderer.pictures([scenes.scene() for _ in range(LOOKED_AT)])
    search = Search(scenes, work.renderer(side * FINER), examples, encoded(examples))

    def loss() -> dict[str, Tensor]:
        wanted = [scenes.scene() for _ in range(settings.batch)]
        with torch.no_grad():
            ids = data.token_ids([captions.caption(scene) for scene in wanted])
            text = text_encoder(ids.to(work.device)).last_hidden_state
        steps = rng.choice(STEPS) if rng.random() < OTHER_STEPS else preset.student.steps
        timesteps, angle = (values.to(work.device) for values in angles(steps))
        noise = torch.randn(settings.batch, channels, side, side).to(work.device)
        way, found = [noise], []
        for i, timestep in enumerate(timesteps):
            found.append(model(way[i], timestep, text).sample.float())
            way.append(stepped(way[i], found[i].detach(), angle[i] - angle[i + 1]))
        goal = encoded(renderer.pictures(search.nearest(wanted, way[-1])))
        line = [angle[i + 1].cos() * goal + angle[i + 1].sin() * noise for i in range(steps)]
        losses = [
            F.mse_loss(found[i], velocity_to(way[i], line[i], angle[i] - angle[i + 1])) for i in range(steps)
        ]
        return {"velocity": torch.stack(losses).mean()}

    stage.train(loss, work.deadline)
    stage.averages["unet"].save_pretrained(work.student / "unet")
    stage.forget()
