"""The data folder: what `prepare` writes, and what training reads without a network."""

import json
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from . import sources
from .captions import CaptionMaker, own_keywords
from .concepts import Concept, chosen_concepts
from .drawing import SHAPES, atlas
from .scenes import KINDS, SceneMaker
from .settings import Preset
from .vocabulary import save_tokenizer

# The vocabulary is made of this many captions, or as many as the UNet learns from.
MOST_CAPTIONS = 60_000


@dataclass(frozen=True)
class Data:
    """Concepts and shapes by name, their pictures `[subjects, 4, size, size]`, and the tokenizer."""

    concepts: list[Concept]
    shapes: list[str]
    atlas: Tensor
    tokenizer: CLIPTokenizer
    folder: Path

    @property
    def subjects(self) -> int:
        return len(self.concepts) + len(self.shapes)

    def scenes(self, seed: int, kinds: dict[str, float] = KINDS) -> SceneMaker:
        return SceneMaker(len(self.concepts), len(self.shapes), random.Random(seed), kinds)

    def captions(self, seed: int, shared: bool = True) -> CaptionMaker:
        """`shared` says whether a concept may be called by keywords that others have, too."""
        concepts = self.concepts
        if not shared:
            concepts = [replace(concept, keywords=own_keywords(concept, concepts)) for concept in concepts]
        return CaptionMaker(concepts, self.shapes, random.Random(seed))

    def token_ids(self, texts: list[str]) -> Tensor:
        """`[texts, positions]`, padded and cut as the pipeline does."""
        return self.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids


def prepare(preset: Preset, folder: Path) -> None:
    """Fetches the sources, draws every glyph and makes the vocabulary. The only step that needs a network."""
    sources.fetch(folder / "sources")
    concepts = chosen_concepts(folder / "sources", preset.concepts)
    write(preset, folder, concepts)


def write(preset: Preset, folder: Path, concepts: list[Concept]) -> None:
    """Writes what training reads about `concepts`."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "atlas.npz", atlas=atlas(concepts, preset.size))
    text = json.dumps([asdict(concept) for concept in concepts], ensure_ascii=False, indent=1)
    (folder / "concepts.json").write_text(text, encoding="utf-8")
    scenes = SceneMaker(len(concepts), len(SHAPES), random.Random(1))
    captions = CaptionMaker(concepts, list(SHAPES), random.Random(2))
    count = min(MOST_CAPTIONS, preset.pool * preset.captions)
    texts = [captions.caption(scenes.scene()) for _ in range(count)]
    length = preset.text.max_position_embeddings
    save_tokenizer(folder / "tokenizer", texts, preset.text.vocabulary, length)
    print(f"{len(concepts)} concepts and {len(SHAPES)} shapes are ready in {folder}", flush=True)


def read(folder: Path) -> Data:
    """What `prepare` wrote."""
    if not (folder / "atlas.npz").exists():
        raise SystemExit(f"{folder} holds no data: run `prepare` first, where there is a network")
    entries = json.loads((folder / "concepts.json").read_text(encoding="utf-8"))
    concepts = [
        Concept(entry["name"], tuple(entry["keywords"]), entry["body"], tuple(entry["view_box"]))
        for entry in entries
    ]
    pictures = torch.from_numpy(np.load(folder / "atlas.npz")["atlas"])
    return Data(concepts, list(SHAPES), pictures, CLIPTokenizer.from_pretrained(folder / "tokenizer"), folder)
