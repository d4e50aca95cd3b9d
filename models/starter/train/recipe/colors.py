"""Colours that prompts may name."""

import random

WHITE = "white"
COLORS = {
    WHITE: (255, 255, 255),
    "red": (220, 45, 45),
    "orange": (245, 140, 40),
    "yellow": (250, 215, 60),
    "green": (60, 170, 80),
    "blue": (50, 110, 220),
    "purple": (140, 80, 200),
    "pink": (250, 160, 190),
    "brown": (130, 85, 55),
    "black": (20, 20, 24),
    "gray": (150, 150, 150),
    "light blue": (160, 210, 245),
}
NAMES = tuple(COLORS)
# How far a channel of a rendered colour may be from its name's.
SPREAD = 8


def shade(name: str, rng: random.Random) -> tuple[int, int, int]:
    """A colour near the named one. White is exact: a page shows where it is not."""
    if name == WHITE:
        return COLORS[WHITE]
    return tuple(min(255, max(0, channel + rng.randint(-SPREAD, SPREAD))) for channel in COLORS[name])


def nearest(rgb: tuple[float, float, float]) -> str:
    """Name of the colour nearest to `rgb`, 0 to 255."""
    return min(NAMES, key=lambda name: sum((a - b) ** 2 for a, b in zip(rgb, COLORS[name])))
