"""Stage `nearest`: the student learns from renders, no more from its teacher.

It draws captions by its own few steps. Of many renders around the place that the noise tells, the one nearest to what
it drew becomes the goal of its way (implicit maximum likelihood estimation, arXiv:1809.09087, with caption and noise
given): a thing may be here or a little to the left, and the mean of both is a blur, but the nearer one is sharp and
near. Each step shall end on the line from the noise that the way began with to that goal; but the first has what the
noise tells as its goal. One step's goal is looked at as a picture, too. Were renders anywhere sought, what is drawn and
what is nearest would agree ever more, until all seeds had one picture.
"""

import random
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from . import networks
from .autoencoder import cropped_both, faint_lines_loss, reconstruction_loss
from .paths import stepped, velocity_to
from .rendering import Renderer
from .scenes import Scene
from .told import Learner, ToldScenes
from .work import Work

# Renders among which the nearest is sought: ones that differ from what is told, then from the best, by so much of the
# picture's side. They are as small as latents, and means of pictures of twice that side.
CANDIDATES, NEARER, FINER = 48, (0.006, 0.002), 2
# What pictures count beside latents, in which eyes, stripes and legs are small: the squares are those of colours. Faint
# lines count again, for things of one colour.
SEEN, FAINT_LINES = 0.5, 4.0
# Renders from which it is learnt how latents look.
LOOKED_AT = 128


class Search:
    """Seeks renders near latents. Latents are compared by their colours, a linear function of each pixel's channels
    (the autoencoder's training anchors them to it)."""

    @classmethod
    def of(cls, work: Work, told: ToldScenes, rng: random.Random) -> "Search":
        examples = [told.scenes.scene() for _ in range(LOOKED_AT)]
        small = work.renderer(networks.latent_side(work.preset) * FINER)
        pictures = told.renderer.pictures(examples)
        return cls(small, rng, pictures, told.encoded(pictures))

    def __init__(self, small: Renderer, rng: random.Random, pictures: Tensor, latents: Tensor):
        """`pictures` and their `latents` are the examples by which colours are learnt."""
        self._small, self._rng = small, rng
        colors = F.avg_pool2d(pictures, pictures.shape[-1] // latents.shape[-1])
        flat = [values.permute(0, 2, 3, 1).flatten(0, 2) for values in (latents, colors)]
        self._colors = torch.linalg.lstsq(F.pad(flat[0], (0, 1), value=1.0), flat[1]).solution

    def nearest(self, scenes: list[Scene], latents: Tensor) -> list[Scene]:
        """The scenes with their things moved and scaled a little, so that renders are near the latents `[n, c, h, w]`."""
        wanted = torch.einsum("nchw,cd->ndhw", F.pad(latents, (0, 0, 0, 0, 0, 1), value=1.0), self._colors)
        found = scenes
        for distance in NEARER:
            moved = [[scene, *(self._moved(scene, distance) for _ in range(CANDIDATES - 1))] for scene in found]
            found = self._best(moved, wanted)
        return found

    def _moved(self, scene: Scene, distance: float) -> Scene:
        def near(value: float) -> float:
            return value + self._rng.uniform(-distance, distance)

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
    settings = work.preset.nearest
    learner = Learner(work, "nearest", settings)
    unet, told = learner.unet, learner.told
    search = Search.of(work, told, learner.rng)

    def loss() -> dict[str, Tensor]:
        drawn = told.draw(settings.batch)
        timesteps, angle = learner.steps()
        steps, turns = len(timesteps), angle[:-1] - angle[1:]
        velocity, first = drawn.first_step(unet, timesteps[0])
        way, found = [drawn.noise, stepped(drawn.noise, velocity.detach(), turns[0])], []
        for i in range(1, steps):
            found.append(unet(way[i], timesteps[i], drawn.text).sample.float())
            way.append(stepped(way[i], found[-1].detach(), turns[i]))
        renders = told.renderer.pictures(search.nearest(drawn.scenes, way[-1]))
        goals = told.encoded(renders)
        line = [angle[i + 1].cos() * goals + angle[i + 1].sin() * drawn.noise for i in range(steps)]
        wanted = [velocity_to(way[i], line[i], turns[i]) for i in range(1, steps)]
        # Every other time the last step's, which is what is drawn.
        i = steps - 1 if learner.rng.random() < 0.5 else learner.rng.randrange(1, steps)
        seen, renders = cropped_both(stepped(way[i], found[i - 1], angle[i]), renders, work.preset.autoencoder.crop)
        picture = told.decoded(seen)
        return {
            "first": first,
            "then": F.mse_loss(torch.cat(found), torch.cat(wanted)),
            "seen": SEEN * reconstruction_loss(picture, renders),
            "faint": FAINT_LINES * faint_lines_loss(picture, renders),
        }

    learner.stage.train(loss, work.deadline)
    learner.save()
