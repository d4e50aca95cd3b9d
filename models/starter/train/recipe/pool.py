"""Stage `pool`: latents of many scenes, with captions, made once so that the UNet's training draws from memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .colors import NAMES
from .loop import autocast, save
from .scenes import Scene
from .work import Work

ENCODED_AT_ONCE = 32
LAYOUTS = ("alone", "beside", "above", "row")
MOST_THINGS = 3


@dataclass(frozen=True)
class Pool:
    """`latents` `[n, c, h, w]` of unit variance, `ids` of captions `[n, captions, positions]`, `empty` of no caption.

    `labels` `[n, 2 + 2 * 3]` say what a scene holds: background, layout, subjects, colours; see `label_sizes`.
    """

    latents: Tensor
    ids: Tensor
    empty: Tensor
    labels: Tensor

    def captions(self, which: Tensor) -> Tensor:
        """Ids of one caption, drawn at random, of each of the scenes."""
        drawn = torch.randint(0, self.ids.shape[1], which.shape, device=which.device)
        return self.ids[which, drawn].long()


def labels(scene: Scene, subjects: int) -> list[int]:
    """A scene as classes; a missing thing is the class after the last subject, a missing colour likewise."""
    missing = MOST_THINGS - len(scene.things)
    things = [thing.subject for thing in scene.things] + [subjects] * missing
    colors = [NAMES.index(thing.color) if thing.color else len(NAMES) for thing in scene.things]
    return [
        NAMES.index(scene.background),
        LAYOUTS.index(scene.layout),
        *things,
        *(colors + [len(NAMES)] * missing),
    ]


def label_sizes(subjects: int) -> list[int]:
    """How many classes each label has."""
    return [len(NAMES), len(LAYOUTS), *[subjects + 1] * MOST_THINGS, *[len(NAMES) + 1] * MOST_THINGS]


@torch.no_grad()
def fill(work: Work) -> None:
    """Makes the pool and saves it."""
    preset, data = work.preset, work.data
    scenes, captions = data.scenes(work.seeded(0), preset.kinds), data.captions(3)
    drawn = [scenes.scene() for _ in range(preset.pool)]
    texts = [captions.caption(scene) for scene in drawn for _ in range(preset.captions)]
    model, renderer, latents = work.autoencoder(), work.renderer(), []
    for start in range(0, len(drawn), ENCODED_AT_ONCE):
        work.deadline.check()
        with autocast(work.device):
            found = model.encode(renderer.pictures(drawn[start : start + ENCODED_AT_ONCE])).latent_dist.mean
        latents.append((found.float() * model.config.scaling_factor).half())
    ids = torch.cat([data.token_ids(texts[i : i + 4096]).short() for i in range(0, len(texts), 4096)])
    pool = {
        "latents": torch.cat(latents).cpu(),
        "ids": ids.view(len(drawn), preset.captions, -1),
        "empty": data.token_ids([""])[0].short(),
        "labels": torch.tensor([labels(scene, data.subjects) for scene in drawn]),
    }
    save(pool, work.folder / "pool.pt")
    print(f"pool: {len(drawn)} latents, deviation {pool['latents'].float().std():.3f}", flush=True)


def read(work: Work) -> Pool:
    """The pool on the training device."""
    parts = torch.load(work.folder / "pool.pt", weights_only=True)
    return Pool(**{name: part.to(work.device) for name, part in parts.items()})
