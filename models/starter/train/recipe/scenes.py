"""What is in a picture and where, before it is rendered or put into words."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .colors import NAMES, WHITE, shade

# Parts of the pictures with one glyph, one shape, two things and three things: as a rule, and where two things are to
# be learnt.
KINDS = {"glyph": 0.62, "shape": 0.08, "pair": 0.22, "row": 0.08}
MORE_PAIRS = {"glyph": 0.47, "shape": 0.05, "pair": 0.40, "row": 0.08}
# Part of the things of a pair or a row that are shapes.
SHAPES_AMONG_THINGS = 0.35
COLORED_BACKGROUNDS = 0.5
# For each layout the smallest and the largest size of a thing, and the middles of the places that things have.
SIZES = {"alone": (0.72, 0.95), "beside": (0.40, 0.46), "above": (0.40, 0.46), "row": (0.28, 0.31)}
MIDDLES = {
    "alone": ((0.5, 0.5),),
    "beside": ((0.25, 0.5), (0.75, 0.5)),
    "above": ((0.5, 0.25), (0.5, 0.75)),
    "row": ((1 / 6, 0.5), (0.5, 0.5), (5 / 6, 0.5)),
}
# How far a thing moves, of what a place leaves free around it.
ROOM = 0.8
# How much of all sizes and of that room a few-step model chooses from: what it reads of its noise is not exact, and eyes and
# stripes are as small as that.
TOLD = 0.15


@dataclass(frozen=True)
class Thing:
    """A subject of the atlas at a place; lengths are parts of the picture's side, `x` and `y` are of the middle.

    `color` is the name of a shape's colour; glyphs have their own.
    """

    subject: int
    x: float
    y: float
    size: float
    color: str | None = None
    rgb: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Scene:
    """Things from left to right or top to bottom on a plain background; `layout` is alone, beside, above or row."""

    background: str
    rgb: tuple[int, int, int]
    layout: str
    things: tuple[Thing, ...]


class SceneMaker:
    """Draws scenes at random, every concept equally often. Subjects are `concepts` glyphs, then `shapes` shapes."""

    def __init__(self, concepts: int, shapes: int, rng: random.Random, kinds: dict[str, float] = KINDS):
        self.concepts, self.shapes, self.rng, self._kinds = concepts, shapes, rng, kinds
        self._deck: list[int] = []

    def scene(self) -> Scene:
        kind = self.rng.choices(list(self._kinds), self._kinds.values())[0]
        if kind == "glyph":
            return self.alone(self._glyph())
        if kind == "shape":
            return self.alone(self._shape())
        if kind == "pair":
            return self.pair(self._subject(), self._subject())
        return self.row([self._subject() for _ in range(3)])

    def alone(self, subject: int, background: str | None = None) -> Scene:
        """One thing in the middle."""
        background = background or self._background()
        size = self.rng.uniform(*SIZES["alone"])
        shift = (1 - size) / 2 * ROOM
        place = [0.5 + self.rng.uniform(-shift, shift) for _ in range(2)]
        return self._scene(background, "alone", [(subject, *place, size)])

    def pair(self, first: int, second: int, layout: str | None = None, background: str | None = None) -> Scene:
        """Two things, the first left of or above the second."""
        background = background or self._background()
        layout = layout or self.rng.choice(("beside", "above"))
        across, places = self.rng.uniform(-0.03, 0.03), []
        for subject, (x, y) in zip((first, second), MIDDLES[layout]):
            along = self.rng.uniform(-0.02, 0.02)
            dx, dy = (along, across) if layout == "beside" else (across, along)
            places.append((subject, x + dx, y + dy, self.rng.uniform(*SIZES[layout])))
        return self._scene(background, layout, places)

    def row(self, subjects: list[int], background: str | None = None) -> Scene:
        """Three things from left to right."""
        places = []
        for subject, (x, y) in zip(subjects, MIDDLES["row"]):
            shifts = [self.rng.uniform(-0.015, 0.015) for _ in range(2)]
            places.append((subject, x + shifts[0], y + shifts[1], self.rng.uniform(*SIZES["row"])))
        return self._scene(background or self._background(), "row", places)

    def is_shape(self, subject: int) -> bool:
        return subject >= self.concepts

    def _scene(self, background: str, layout: str, places: list[tuple]) -> Scene:
        things = tuple(self._thing(background, *place) for place in places)
        return Scene(background, shade(background, self.rng), layout, things)

    def _thing(self, background: str, subject: int, x: float, y: float, size: float) -> Thing:
        if not self.is_shape(subject):
            return Thing(subject, x, y, size)
        color = self.rng.choice([name for name in NAMES if name != background])
        return Thing(subject, x, y, size, color, shade(color, self.rng))

    def _background(self) -> str:
        return self.rng.choice(NAMES[1:]) if self.rng.random() < COLORED_BACKGROUNDS else WHITE

    def _subject(self) -> int:
        return self._shape() if self.rng.random() < SHAPES_AMONG_THINGS else self._glyph()

    def _shape(self) -> int:
        return self.concepts + self.rng.randrange(self.shapes)

    def _glyph(self) -> int:
        if not self._deck:
            self._deck = list(range(self.concepts))
            self.rng.shuffle(self._deck)
        return self._deck.pop()


def placed(scene: Scene, told: Sequence[float]) -> Scene:
    """The same scene with its things moved together and of one size: `told` has 0..1 for how far to the right, how far
    down and how large."""
    across, down, large = told
    (least, most), middles = SIZES[scene.layout], MIDDLES[scene.layout]
    size = (least + most) / 2 + (most - least) * TOLD * (large - 0.5)
    room = (1 / len(middles) - size) * ROOM * TOLD
    dx, dy = room * (across - 0.5), room * (down - 0.5)
    things = zip(scene.things, middles)
    return replace(scene, things=tuple(replace(old, x=x + dx, y=y + dy, size=size) for old, (x, y) in things))
