"""Scenes in words: what the model is trained on, and the phrasings that are held back for the measure."""

import random

from .articles import article, with_article
from .colors import COLORS, WHITE
from .concepts import Concept
from .scenes import Scene, Thing

ALONE = (
    ("{name}", 3),
    ("{thing}", 6),
    ("the {name}", 1),
    ("an emoji of {thing}", 1),
    ("a picture of {thing}", 1),
    ("a drawing of {thing}", 1),
    ("an icon of {thing}", 1),
    ("an image of {thing}", 1),
    ("{name} emoji", 1),
    ("draw {thing}", 1),
    ("a cartoon {name}", 1),
    ("a cute {name}", 1),
    ("a beautiful {name}", 1),
)
BACKGROUNDS = (
    " on {article} {color} background",
    " with {article} {color} background",
    " in front of {article} {color} background",
    ", {color} background",
    " on {color}",
)
BESIDE = (
    ("{0} left of {1}", 2),
    ("{0} to the left of {1}", 2),
    ("{1} right of {0}", 2),
    ("{1} to the right of {0}", 2),
    ("{0} and {1}", 3),
    ("{0} next to {1}", 1),
    ("{0} on the left and {1} on the right", 1),
)
ABOVE = (
    ("{0} above {1}", 3),
    ("{1} below {0}", 3),
    ("{1} under {0}", 1),
    ("{0} on top of {1}", 1),
)
ROW = (
    ("{0}, {1} and {2}", 4),
    ("{0}, {1} and {2} in a row", 1),
    ("{1} between {0} and {2}", 2),
)
# What people say around what they want: before it, and after.
BEFORE = (
    "draw",
    "draw me",
    "show me",
    "can you draw",
    "can you make",
    "please make",
    "i want",
    "i want to see",
    "i need",
    "we want",
    "make",
    "make me",
    "create",
    "generate",
    "give me",
    "let me see",
    "there is",
    "this is",
    "a nice picture of",
    "a sketch of",
    "a sticker with",
    "an illustration of",
    "a logo with",
    "a photo of",
)
AFTER = (
    "for you",
    "for a card",
    "for kids",
    "as a sticker",
    "as a logo",
    "in high quality",
    "high quality",
    "very cute",
    "so cute",
    "with many details",
    "highly detailed",
    "digital art",
    "vector art",
    "flat design",
    "clip art",
    "in cartoon style",
    "in a simple style",
    "thank you",
    "thanks",
    "today",
)
CONSONANTS, VOWELS = tuple("bcdfghjklmnprstvwy"), ("a", "e", "i", "o", "u", "ou", "ai", "ee")
# Never trained on.
HELD_OUT = ("could you paint {thing} for me", "i would like {thing} please", "my own little {name}")

# Part of the captions of single glyphs with keywords after the name, and with keywords alone.
NAME_AND_KEYWORDS, KEYWORDS = 0.15, 0.15
UNSAID_WHITE = 0.85
# Part of the prompts with words before the caption, as of those with words after it; and part of these words that are
# unknown ones, so that any other that the model was not trained on is passed over too.
CHATTER, UNKNOWN = 0.45, 0.5


def _weighted(choices: tuple, rng: random.Random) -> str:
    return rng.choices([text for text, _ in choices], [weight for _, weight in choices])[0]


class CaptionMaker:
    """Puts scenes of `concepts`, followed by `shapes` by name, into words."""

    def __init__(self, concepts: list[Concept], shapes: list[str], rng: random.Random):
        self.concepts, self.shapes, self.rng = concepts, shapes, rng
        known = [*COLORS, *shapes, *(text for concept in concepts for text in (concept.name, *concept.keywords))]
        self._known_words = {word for text in known for word in text.split()}

    def caption(self, scene: Scene) -> str:
        """One of the many ways to say what a scene shows."""
        things = [self.phrase(thing) for thing in scene.things]
        if scene.layout == "beside":
            text = _weighted(BESIDE, self.rng).format(*things)
        elif scene.layout == "above":
            text = _weighted(ABOVE, self.rng).format(*things)
        elif scene.layout == "row":
            text = _weighted(ROW, self.rng).format(*things)
        else:
            text = self._alone(scene.things[0])
        return text + self.background(scene.background)

    def among_words(self, caption: str) -> str:
        """The caption as it is or, for two thirds, among words that say nothing of the scene."""
        parts = [caption]
        if self.rng.random() < CHATTER:
            parts.insert(0, self._chatter(BEFORE))
        if self.rng.random() < CHATTER:
            parts.append(self._chatter(AFTER))
        return " ".join(parts)

    def name(self, thing: Thing) -> str:
        """`red apple`, `blue circle`."""
        if thing.subject < len(self.concepts):
            return self.concepts[thing.subject].name
        return f"{thing.color} {self.shapes[thing.subject - len(self.concepts)]}"

    def phrase(self, thing: Thing) -> str:
        """The name with its article."""
        return with_article(self.name(thing))

    def background(self, color: str) -> str:
        """What follows the things; white is seldom said."""
        if color == WHITE and self.rng.random() < UNSAID_WHITE:
            return ""
        return self.rng.choice(BACKGROUNDS).format(article=article(color), color=color)

    def _alone(self, thing: Thing) -> str:
        if thing.subject < len(self.concepts):
            concept, chance = self.concepts[thing.subject], self.rng.random()
            if concept.keywords and chance < NAME_AND_KEYWORDS:
                return ", ".join([concept.name, *self._keywords(concept)])
            if concept.keywords and chance < NAME_AND_KEYWORDS + KEYWORDS:
                return " ".join(self._keywords(concept))
        return _weighted(ALONE, self.rng).format(name=self.name(thing), thing=self.phrase(thing))

    def _chatter(self, phrases: tuple[str, ...]) -> str:
        if self.rng.random() >= UNKNOWN:
            return self.rng.choice(phrases)
        return " ".join(self._unknown_word() for _ in range(self.rng.randint(1, 3)))

    def _unknown_word(self) -> str:
        """Syllables at random that name nothing."""
        while True:
            count = self.rng.randint(1, 2)
            syllables = (self.rng.choice(CONSONANTS) + self.rng.choice(VOWELS) for _ in range(count))
            word = "".join(syllables) + self.rng.choice(("", *CONSONANTS))
            if word not in self._known_words:
                return word

    def _keywords(self, concept: Concept) -> list[str]:
        return self.rng.sample(concept.keywords, self.rng.randint(1, min(3, len(concept.keywords))))


def own_keywords(concept: Concept, concepts: list[Concept]) -> tuple[str, ...]:
    """The keywords of a concept that no other concept has as a keyword or in its name."""
    others = [other for other in concepts if other is not concept]

    def shared(word: str) -> bool:
        return any(word in other.keywords or word in other.name for other in others)

    return tuple(word for word in concept.keywords if not shared(word))
