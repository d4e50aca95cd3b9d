"""Vectors to pixels: every glyph and every shape once, as premultiplied RGBA."""

import io

import numpy as np
from PIL import Image

from .concepts import Concept

# White bodies in a square of 128; a picture of the shape multiplies them with its colour.
SHAPES = {
    "circle": '<circle cx="64" cy="64" r="62"/>',
    "square": '<rect x="8" y="8" width="112" height="112"/>',
    "triangle": '<path d="M64 6L124 116H4z"/>',
    "diamond": '<path d="M64 2L112 64L64 126L16 64z"/>',
    "ring": '<path fill-rule="evenodd" d="M64 2a62 62 0 1 0 .1 0zM64 28a36 36 0 1 1-.1 0z"/>',
    "oval": '<ellipse cx="64" cy="64" rx="62" ry="40"/>',
    "rectangle": '<rect x="2" y="28" width="124" height="72"/>',
    "hexagon": '<path d="M64 2L118 33V95L64 126L10 95V33z"/>',
    "plus sign": '<path d="M46 4H82V46H124V82H82V124H46V82H4V46H46z"/>',
}
SHAPE_VIEW_BOX = (128, 128)


def rasterized(body: str, view_box: tuple[float, float], size: int) -> np.ndarray:
    """The inside of an SVG as uint8 `[4, size, size]`, colours multiplied with alpha."""
    # Only data is prepared with it: a machine that trains needs no renderer of vectors.
    import resvg_py

    width, height = view_box
    side = max(width, height)
    box = f"{(width - side) / 2} {(height - side) / 2} {side} {side}"
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    svg = f'<svg {names} viewBox="{box}" width="{size}" height="{size}">{body}</svg>'
    png = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True)
    pixels = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"), dtype=np.uint16)
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    premultiplied = np.concatenate([(colours * alpha + 127) // 255, alpha], axis=-1)
    return premultiplied.transpose(2, 0, 1).astype(np.uint8)


def atlas(concepts: list[Concept], size: int) -> np.ndarray:
    """Glyphs of the concepts, then the shapes in white: uint8 `[subjects, 4, size, size]`."""
    glyphs = [rasterized(concept.body, concept.view_box, size) for concept in concepts]
    shapes = [rasterized(f'<g fill="#fff">{body}</g>', SHAPE_VIEW_BOX, size) for body in SHAPES.values()]
    return np.stack(glyphs + shapes)
