"""The things that the model learns to draw: emoji with their names and keywords, and plain shapes."""

import re
from dataclasses import dataclass
from pathlib import Path

from . import sources

HERE = Path(__file__).resolve().parent.parent

SKIN_TONES = range(0x1F3FB, 0x1F400)
HAIR = range(0x1F9B0, 0x1F9B4)
REGIONAL_INDICATORS = range(0x1F1E6, 0x1F200)
TAGS = range(0xE0000, 0xE0080)
KEYCAP, JOINER, VARIATION = 0x20E3, 0x200D, 0xFE0F
GENDER_SIGNS = (0x2640, 0x2642)
MAN_AND_WOMAN = (0x1F468, 0x1F469)
SIGN_PREFIXES = ("Japanese “", "input ", "flag: ", "keycap: ", "family: ", "couple with heart: ", "kiss: ")
SIGN_PARTS = (" button", ": facing right", "-thirty", " flag", "flags", ": blond hair", ": beard")
# A keyword that says something: not "+1".
WORD = re.compile(r"[^\W\d_]{3}")


@dataclass(frozen=True)
class Concept:
    """An emoji: its name and keywords in lower case, and its picture as the inside of an SVG of `view_box` units."""

    name: str
    keywords: tuple[str, ...]
    body: str
    view_box: tuple[float, float]


def plain(text: str) -> str:
    """A name as people type it."""
    for typographic, typed in (("’", "'"), ("“", ""), ("”", ""), (":", ""), ("!", "")):
        text = text.replace(typographic, typed)
    return text.lower()


def listed(file: str) -> list[str]:
    """Names in a list beside the recipe, in order."""
    lines = (HERE / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def is_left_out(points: list[int], name: str) -> bool:
    """Whether an emoji is a flag, a keycap, a variant of another in skin, hair or gender, or mere text."""
    found = set(points)
    if KEYCAP in found or points[0] < 0x80:
        return True
    if any(point in span for point in found for span in (SKIN_TONES, HAIR, REGIONAL_INDICATORS, TAGS)):
        return True
    # The sequences of man and woman have a neutral one beside them, whose name is what people type.
    if JOINER in found and (found.intersection(GENDER_SIGNS) or points[0] in MAN_AND_WOMAN):
        return True
    return name.startswith(SIGN_PREFIXES) or any(part in name for part in SIGN_PARTS)


def _annotations(folder: Path) -> dict[str, dict]:
    own = sources.read(folder, sources.NAMES, "annotations/en/annotations.json")
    derived = sources.read(folder, sources.DERIVED_NAMES, "annotationsDerived/en/annotations.json")
    return own["annotations"]["annotations"] | derived["annotationsDerived"]["annotations"]


def _glyphs(folder: Path) -> dict[str, dict]:
    """The icon of each character, by its code points without variation selectors, `1f34e` or `1f469-200d-1f33e`."""
    icons = sources.read(folder, sources.GLYPHS, "icons.json")
    characters = sources.read(folder, sources.GLYPHS, "chars.json")
    found = {}
    for points, name in characters.items():
        icon = icons["icons"].get(icons["aliases"].get(name, {}).get("parent", name))
        if icon:
            sides = (icon.get("width", icons["width"]), icon.get("height", icons["height"]))
            found["-".join(point for point in points.split("-") if point != "fe0f")] = (icon["body"], sides)
    return found


def all_concepts(folder: Path) -> list[Concept]:
    """Every emoji that has a glyph, a name of its own and no reason to be left out, in the order of the CLDR."""
    glyphs = _glyphs(folder)
    excluded, unknown, seen = set(listed("excluded.txt")), set(listed("excluded.txt")), set()
    concepts = []
    for character, annotation in _annotations(folder).items():
        points = [ord(part) for part in character if ord(part) != VARIATION]
        name = annotation.get("tts", [""])[0]
        unknown.discard(name)
        body, view_box = glyphs.get("-".join(f"{point:04x}" for point in points), (None, None))
        if not name or body is None or body in seen or name in excluded or is_left_out(points, name):
            continue
        seen.add(body)
        words = [plain(word) for word in annotation.get("default", ())]
        keywords = tuple(word for word in words if word != plain(name) and WORD.match(word))
        concepts.append(Concept(plain(name), keywords, body, view_box))
    if unknown:
        raise SystemExit(f"excluded.txt names what no emoji is called: {', '.join(sorted(unknown))}")
    return concepts


def chosen_concepts(folder: Path, count: int | None) -> list[Concept]:
    """The first `count` of `everyday.txt`, or every concept."""
    concepts = {concept.name: concept for concept in all_concepts(folder)}
    if count is None:
        return list(concepts.values())
    names = [plain(name) for name in listed("everyday.txt")[:count]]
    missing = [name for name in names if name not in concepts]
    if missing:
        raise SystemExit(f"everyday.txt names what there is no glyph of: {', '.join(missing)}")
    return [concepts[name] for name in names]
