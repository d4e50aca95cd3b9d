"""A byte-pair vocabulary by CLIP's rules, trained on captions (arXiv:2103.00020, appendix A; `CLIPTokenizer`)."""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
WORDS = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")


def byte_alphabet() -> list[str]:
    """The characters that stand for bytes, in CLIP's order: printable ones for themselves, then the rest."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def merges_of(captions: list[str], count: int) -> list[tuple[str, str]]:
    """At most `count` merges, most frequent first."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(WORDS, "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=512 + count,
        min_frequency=3,
        end_of_word_suffix=END_OF_WORD,
        initial_alphabet=sorted(byte_alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]][:count]


def save_tokenizer(folder: Path, captions: list[str], size: int, length: int) -> CLIPTokenizer:
    """Trains a vocabulary of at most `size` entries and saves it as CLIP's files, for texts of `length` tokens."""
    alphabet = byte_alphabet()
    fixed = [*alphabet, *(letter + END_OF_WORD for letter in alphabet)]
    merges = merges_of(captions, size - len(fixed) - 2)
    entries = dict.fromkeys([*fixed, *("".join(merge) for merge in merges), BOS, EOS])
    vocabulary = {token: i for i, token in enumerate(entries)}
    folder.mkdir(parents=True, exist_ok=True)
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)
