"""What is measured of pictures whose scenes are known. All results are parts, 0 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .colors import nearest
from .likeness import Likeness, resized
from .rendering import Renderer
from .scenes import Scene, Thing

# Frame of a picture that shows nothing but background, as a part of its side.
FRAME = 1 / 32
# Side of the piece around a thing, in sizes of the thing.
AROUND = 1.15


@dataclass(frozen=True)
class Case:
    """A prompt and the scene that it describes."""

    prompt: str
    scene: Scene


def ranked(distances: Tensor, subjects: Tensor) -> dict[str, float]:
    """How often the right subject comes first, and is among the first five."""
    rank = (distances < distances.gather(1, subjects[:, None])).sum(1)
    return {"top1": float((rank < 1).float().mean()), "top5": float((rank < 5).float().mean())}


def alone(cases: Sequence[Case], pictures: Tensor, likeness: Likeness) -> dict[str, float]:
    """Retrieval of single things by judge, colours and edges."""
    subjects = torch.tensor([case.scene.things[0].subject for case in cases])
    ways = {"judge": likeness.by_judge, "pixel": likeness.by_colours, "shape": likeness.by_edges}
    found = {}
    for way, distances in ways.items():
        found |= {f"{way} {name}": value for name, value in ranked(distances(pictures), subjects).items()}
    return found


def recognized(cases: Sequence[Case], pictures: Tensor, likeness: Likeness) -> dict[str, float]:
    """Retrieval of single things by the judge."""
    subjects = torch.tensor([case.scene.things[0].subject for case in cases])
    return {f"judge {name}": value for name, value in ranked(likeness.by_judge(pictures), subjects).items()}


def rgb(pixels: Tensor) -> tuple[float, float, float]:
    """Median colour, 0 to 255, of pixels `[3, n]` in -1..1."""
    return tuple(((pixels.median(1).values + 1) * 127.5).tolist())


def backgrounds(cases: Sequence[Case], pictures: Tensor) -> dict[str, float]:
    """How often the frame of the picture has the colour that was asked for."""
    width = max(1, round(pictures.shape[-1] * FRAME))
    right = 0
    for case, picture in zip(cases, pictures):
        sides = (picture[:, :width], picture[:, -width:], picture[..., :width], picture[..., -width:])
        frame = torch.cat([side.flatten(1) for side in sides], 1)
        right += nearest(rgb(frame)) == case.scene.background
    return {"background": right / len(cases)}


def piece(picture: Tensor, thing: Thing, side: int) -> Tensor:
    """The square of the picture `[3, h, w]` around a thing, `[1, 3, side, side]`; beyond the edge is its border."""
    size = picture.shape[-1]
    half = max(2, round(thing.size * AROUND * size / 2))
    padded = torch.nn.functional.pad(picture[None], (half, half, half, half), mode="replicate")
    top, left = round(thing.y * size), round(thing.x * size)
    return resized(padded[..., top : top + 2 * half, left : left + 2 * half], side)


def variety(cases: Sequence[Case], pictures: Tensor) -> dict[str, float]:
    """How far apart two pictures of a prompt are, which follow each other: the mean difference of their values, of the
    largest that there is."""
    first, second = pictures.unflatten(0, (len(cases) // 2, 2)).unbind(1)
    return {"difference": float((first - second).abs().mean() / 2)}


def pairs(
    cases: Sequence[Case], pictures: Tensor, likeness: Likeness, renderer: Renderer, side: int
) -> dict[str, float]:
    """Two things: both the right ones at their places, not swapped, and shapes in their colours.

    A shape's colour is measured where its mask in the wanted scene is.
    """
    pieces = [piece(picture, thing, side) for case, picture in zip(cases, pictures) for thing in case.scene.things]
    distances = likeness.by_judge(torch.cat(pieces)).view(len(cases), 2, -1)
    both = placed = 0
    colors: list[bool] = []
    for case, picture, (first, second) in zip(cases, pictures, distances):
        subjects = [thing.subject for thing in case.scene.things]
        both += [int(first.argmin()), int(second.argmin())] == subjects
        placed += bool(first[subjects[0]] + second[subjects[1]] < first[subjects[1]] + second[subjects[0]])
        for thing, mask in zip(case.scene.things, renderer.masks(case.scene).cpu()):
            if thing.color:
                colors.append(nearest(rgb(picture[:, mask > 0.5])) == thing.color)
    found = {"both right": both / len(cases), "places": placed / len(cases)}
    return found | ({"shape colour": sum(colors) / len(colors)} if colors else {})
