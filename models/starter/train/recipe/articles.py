"""Articles before names: "a unicorn", "an hourglass", "scissors", "the milky way"."""

import re

from .concepts import listed

# Written with a vowel and spoken with a consonant; and the other way round.
CONSONANT_SOUND = re.compile(r"(uni(?!n)|use|usu|uku|eu|ewe|one\b|once)")
VOWEL_SOUND = re.compile(r"(hour|heir|honest|honou?r|x-ray\b|sos\b|atm\b)")
# Words whose last letter is no plural's.
SINGULAR_S = re.compile(r"(ss|us|os|[^k]is)$")
# What follows one of these words does not change the number: a "face holding back tears" is one face.
MODIFIER = re.compile(r" (with|of|in|on|at|and|without|behind|over|for|\w+ing) ")
BARE = frozenset(listed("without_article.txt"))
THE = frozenset(("milky way", "national park", "statue of liberty", "tokyo tower"))


def is_plural(name: str) -> bool:
    """Whether a name in lower case speaks of several things, or of one that is called so, such as scissors."""
    modifier = MODIFIER.search(name)
    if modifier and modifier[1] == "and":
        return True
    head = name[: modifier.start()] if modifier else name
    return head == "people" or (head.endswith("s") and not SINGULAR_S.search(head))


def article(word: str) -> str:
    """The indefinite article before a word in lower case."""
    vowel = word[:1] in "aeiou" and not CONSONANT_SOUND.match(word)
    return "an" if vowel or VOWEL_SOUND.match(word) else "a"


def with_article(name: str) -> str:
    """A concept's name in lower case as a sentence has it."""
    if name in THE:
        return f"the {name}"
    if name in BARE or name.endswith(" o'clock") or is_plural(name):
        return name
    return f"{article(name)} {name}"
