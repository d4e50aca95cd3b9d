"""Which subject a picture looks like most: by a judge's features, by colours and by edges."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .networks import Judge
from .rendering import Renderer
from .scenes import Scene, Thing

GALLERY_SIZES = (0.75, 0.82, 0.88, 0.95)
# Shapes have no colour of their own: the gallery has them in these.
SHAPE_COLORS = ((220, 45, 45), (60, 170, 80), (50, 110, 220), (20, 20, 24))
WHITE = (255, 255, 255)
# Colours and edges are compared at this size, with the picture moved by up to this much.
SIDE, SHIFTS = 64, (-4, -2, 0, 2, 4)
ORIENTATIONS, CELL = 6, 8


def gallery_scenes(concepts: int, shapes: int) -> list[Scene]:
    """Every subject in the middle of white, four times."""
    scenes = []
    for subject in range(concepts + shapes):
        for size, color in zip(GALLERY_SIZES, SHAPE_COLORS):
            rgb = color if subject >= concepts else None
            scenes.append(Scene("white", WHITE, "alone", (Thing(subject, 0.5, 0.5, size, None, rgb),)))
    return scenes


def resized(pictures: Tensor, side: int) -> Tensor:
    return F.interpolate(pictures, size=side, mode="bilinear", antialias=True, align_corners=False)


def colours(pictures: Tensor) -> Tensor:
    """Means of 4x4 pixels of pictures `[n, 3, 64, 64]`, flat."""
    return F.avg_pool2d(pictures, SIDE // 16).flatten(1)


def edges(pictures: Tensor) -> Tensor:
    """Histograms of oriented gradients (Dalal and Triggs 2005) of pictures `[n, 3, 64, 64]`, of unit length."""
    gray = pictures.mean(1)
    across = F.pad(gray.diff(dim=2), (0, 1))
    down = F.pad(gray.diff(dim=1), (0, 0, 0, 1))
    strength = (across**2 + down**2).sqrt()
    angle = torch.atan2(down, across) % torch.pi
    width = torch.pi / ORIENTATIONS
    bins = []
    for i in range(ORIENTATIONS):
        distance = (angle - i * width).abs()
        distance = torch.minimum(distance, torch.pi - distance)
        bins.append(F.avg_pool2d((1 - distance / width).clamp(min=0) * strength, CELL))
    return F.normalize(torch.stack(bins, 1).flatten(1), dim=1)


class Likeness:
    """Compares pictures with renders of every subject."""

    def __init__(self, judge: Judge, renderer: Renderer, concepts: int, shapes: int, judge_size: int):
        self._judge, self._judge_size = judge, judge_size
        self._subjects = concepts + shapes
        scenes = gallery_scenes(concepts, shapes)
        features, small = [], []
        for start in range(0, len(scenes), 64):
            pictures = renderer.pictures(scenes[start : start + 64]).cpu()
            features.append(self._seen(pictures))
            small.append(resized(pictures, SIDE))
        self._features = torch.cat(features)
        self._colours, self._edges = colours(torch.cat(small)), edges(torch.cat(small))

    def by_judge(self, pictures: Tensor) -> Tensor:
        """Distance of pictures `[n, 3, h, w]` to every subject, `[n, subjects]`."""
        return self._nearest(1 - self._seen(pictures) @ self._features.T)

    def by_colours(self, pictures: Tensor) -> Tensor:
        return self._moved(resized(pictures, SIDE), colours, self._colours)

    def by_edges(self, pictures: Tensor) -> Tensor:
        return self._moved(resized(pictures, SIDE), edges, self._edges)

    @torch.no_grad()
    def _seen(self, pictures: Tensor) -> Tensor:
        device = next(self._judge.parameters()).device
        seen = [self._judge.features(resized(part, self._judge_size).to(device)) for part in pictures.split(256)]
        return F.normalize(torch.cat(seen).cpu(), dim=1)

    def _moved(self, pictures: Tensor, features, wanted: Tensor) -> Tensor:
        best = None
        for down in SHIFTS:
            for across in SHIFTS:
                found = torch.cdist(features(pictures.roll((down, across), (2, 3))), wanted)
                best = found if best is None else torch.minimum(best, found)
        return self._nearest(best)

    def _nearest(self, distances: Tensor) -> Tensor:
        return distances.view(len(distances), self._subjects, -1).amin(2)
