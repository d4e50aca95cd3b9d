"""A model's quality as numbers, over fixed prompts and seeds."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from . import judging, measures
from .articles import article, with_article
from .autoencoder import psnr
from .captions import HELD_OUT, own_keywords
from .colors import NAMES, WHITE
from .data import Data
from .likeness import Likeness
from .measures import Case
from .rendering import Renderer
from .sampling import Painter, Sampling
from .work import Work

COLUMNS = 8
GRID = 48
# Renders that the autoencoder is measured on.
RECONSTRUCTED = 96
RELATIONS = {"beside": "{0} left of {1}", "above": "{0} above {1}"}


@dataclass(frozen=True)
class Suite:
    """How much is measured: at most `limit` single things; backgrounds and pairs are drawn at random."""

    limit: int
    backgrounds: int
    pairs: int


class Cases:
    """Draws what is asked of a model; the same for every model that knows the same concepts."""

    def __init__(self, data: Data, known: list[int]):
        self._data, self._known = data, known
        self._scenes, self._rng = data.scenes(77), random.Random(78)

    def names(self, subjects: list[int], phrase: str = "{thing}") -> list[Case]:
        """Single things on white by name."""
        return [self._case(self._filled(phrase, self._name(subject)), subject) for subject in subjects]

    def held_out_phrasings(self, subjects: list[int]) -> list[Case]:
        return [self.names([subject], self._rng.choice(HELD_OUT))[0] for subject in subjects]

    def keywords(self, subjects: list[int]) -> list[Case]:
        """Single things by the first keyword that only they have, where they have one."""
        concepts = self._data.concepts
        words = [(subject, own_keywords(concepts[subject], concepts)[:1]) for subject in subjects]
        return [self._case(word, subject) for subject, own in words for word in own]

    def backgrounds(self, count: int) -> list[Case]:
        cases = []
        for _ in range(count):
            subject, color = self._rng.choice(self._known), self._rng.choice(NAMES[1:])
            prompt = f"{with_article(self._name(subject))} on {article(color)} {color} background"
            cases.append(Case(prompt, self._scenes.alone(subject, color)))
        return cases

    def pairs(self, count: int) -> list[Case]:
        """Two different things, every second one a coloured shape."""
        words = self._data.captions(79)
        shapes = range(len(self._data.concepts), self._data.subjects)
        cases = []
        while len(cases) < count:
            first, second = self._rng.choice(self._known), self._rng.choice([*shapes, *self._known])
            if first == second:
                continue
            if self._rng.random() < 0.5:
                first, second = second, first
            scene = self._scenes.pair(first, second, self._rng.choice(list(RELATIONS)), WHITE)
            things = [words.phrase(thing) for thing in scene.things]
            cases.append(Case(RELATIONS[scene.layout].format(*things), scene))
        return cases

    def twice(self, subjects: list[int]) -> list[Case]:
        """Single things by name, each two times in a row, at places of their own."""
        return [case for subject in subjects for case in self.names([subject, subject])]

    def _name(self, subject: int) -> str:
        return self._data.concepts[subject].name

    def _filled(self, phrase: str, name: str) -> str:
        return phrase.format(name=name, thing=with_article(name))

    def _case(self, prompt: str, subject: int) -> Case:
        return Case(prompt, self._scenes.alone(subject, WHITE))


def evaluate(work: Work, model: Path, sampling: Sampling, suite: Suite, known: list[int], folder: Path) -> dict:
    """Measures `model` on the concepts `known` of the data, against a gallery of all, and writes what was found.

    Beside each number stands what renders of the wanted scenes score, coded by the model's autoencoder: the most that
    the measure gives.
    """
    painter, data = Painter(model, work.device), work.data
    renderer = Renderer(data.atlas, painter.size)
    judge_size = work.preset.judge.size
    likeness = Likeness(judging.read(work), renderer, len(data.concepts), len(data.shapes), judge_size)
    cases, subjects = Cases(data, known), known[: suite.limit]
    sections = {
        "names": (cases.names(subjects), lambda c, p: measures.alone(c, p, likeness)),
        "held-out phrasings": (cases.held_out_phrasings(subjects), lambda c, p: measures.recognized(c, p, likeness)),
        "keywords": (cases.keywords(subjects), lambda c, p: measures.recognized(c, p, likeness)),
        "backgrounds": (cases.backgrounds(suite.backgrounds), measures.backgrounds),
        "pairs": (
            cases.pairs(suite.pairs),
            lambda c, p: measures.pairs(c, p, likeness, renderer, judge_size),
        ),
        "two seeds": (cases.twice(subjects[: suite.pairs // 2]), measures.variety),
    }
    found, painted = {}, {}
    for number, (name, (asked, measure)) in enumerate(sections.items()):
        if not asked:
            continue
        painted[name] = painter.pictures([case.prompt for case in asked], sampling, 1000 * (number + 1))
        most = measure(asked, _coded(painter, renderer, asked, work.device))
        scores = {key: {"found": value, "most": most[key]} for key, value in measure(asked, painted[name]).items()}
        found[name] = {"prompts": len(asked), "scores": scores}
        print(f"evaluation: {name} {({key: round(score['found'], 3) for key, score in scores.items()})}", flush=True)
    held_out = data.scenes(80)
    pictures = renderer.pictures([held_out.scene() for _ in range(RECONSTRUCTED)]).to(work.device)
    result = {
        "size": painter.size,
        "sampling": vars(sampling),
        "gallery": data.subjects,
        "sections": found,
        "vae_psnr": psnr(painter.autoencoder, pictures),
    }
    _write(result, folder)
    for name in ("names", "pairs"):
        grid(painted[name][:GRID]).save(folder / f"{name}.png")
    return result


@torch.no_grad()
def _coded(painter: Painter, renderer: Renderer, cases: list[Case], device: torch.device) -> Tensor:
    """Renders of the wanted scenes, through the model's autoencoder."""
    coded = []
    for case in cases:
        latents = painter.autoencoder.encode(renderer.pictures([case.scene]).to(device)).latent_dist.mean
        coded.append(painter.autoencoder.decode(latents).sample.clamp(-1, 1).float().cpu())
    return torch.cat(coded)


def grid(pictures: Tensor) -> Image.Image:
    """Pictures in -1..1 beside each other."""
    count, size = len(pictures), pictures.shape[-1]
    rows = -(-count // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * size, rows * size), "white")
    for i, picture in enumerate(pictures):
        pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        sheet.paste(Image.fromarray(pixels), (i % COLUMNS * size, i // COLUMNS * size))
    return sheet


def table(result: dict) -> str:
    """The numbers as Markdown."""
    lines = ["| asked for | prompts | measure | found | most |", "|---|---|---|---|---|"]
    for name, section in result["sections"].items():
        for measure, score in section["scores"].items():
            cells = (name, section["prompts"], measure, f"{score['found']:.1%}", f"{score['most']:.1%}")
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines.append(f"| autoencoder | | PSNR of held-out renders | {result['vae_psnr']:.1f} dB | |")
    return "\n".join(lines) + "\n"


def _write(result: dict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / "evaluation.md").write_text(table(result), encoding="utf-8")
