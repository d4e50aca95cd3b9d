"""Scenes to pixels, many at once on the training device."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .scenes import Scene, Thing

# Things smaller than this part of the picture are drawn from glyphs of half the side, so that no pixels are skipped.
HALF = 0.6


class Renderer:
    """Draws scenes of an atlas, uint8 `[subjects, 4, side, side]` premultiplied, as pictures of `size` pixels."""

    def __init__(self, atlas: Tensor, size: int, device: torch.device | str = "cpu"):
        self.size, self.device = size, torch.device(device)
        full = F.interpolate(atlas.float(), size=size, mode="area") if atlas.shape[-1] != size else atlas.float()
        self._levels = [level.round().byte().to(self.device) for level in (full, F.avg_pool2d(full, 2))]

    def pictures(self, scenes: list[Scene]) -> Tensor:
        """`[n, 3, size, size]` in -1..1."""
        colors = torch.tensor([scene.rgb for scene in scenes], device=self.device) / 255
        pictures = colors[:, :, None, None].repeat(1, 1, self.size, self.size)
        for slot in range(max(len(scene.things) for scene in scenes)):
            which = [i for i, scene in enumerate(scenes) if len(scene.things) > slot]
            layers = self.layers([scenes[i].things[slot] for i in which])
            pictures[which] = layers[:, :3] + pictures[which] * (1 - layers[:, 3:])
        return pictures * 2 - 1

    def masks(self, scene: Scene) -> Tensor:
        """Where each thing covers its picture, `[things, size, size]` in 0..1."""
        return self.layers(list(scene.things))[:, 3]

    def layers(self, things: list[Thing]) -> Tensor:
        """Each thing alone at its place: RGBA `[n, 4, size, size]` in 0..1, premultiplied."""
        layers = torch.empty(len(things), 4, self.size, self.size, device=self.device)
        for level, glyphs in enumerate(self._levels):
            which = [i for i, thing in enumerate(things) if (thing.size < HALF) == bool(level)]
            if which:
                layers[which] = self._placed(glyphs, [things[i] for i in which])
        return layers

    def _placed(self, glyphs: Tensor, things: list[Thing]) -> Tensor:
        subjects = torch.tensor([thing.subject for thing in things], device=self.device)
        tints = torch.tensor([(*(thing.rgb or (255, 255, 255)), 255) for thing in things], device=self.device)
        # From the picture's coordinates to the glyph's, both -1..1.
        maps = torch.tensor(
            [
                [[1 / t.size, 0, (1 - 2 * t.x) / t.size], [0, 1 / t.size, (1 - 2 * t.y) / t.size]]
                for t in things
            ],
            device=self.device,
        )
        grid = F.affine_grid(maps, [len(things), 4, self.size, self.size], align_corners=False)
        found = F.grid_sample(glyphs[subjects].float() / 255, grid, align_corners=False)
        return found * (tints / 255)[:, :, None, None]
