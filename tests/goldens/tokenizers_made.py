"""Small CLIP tokenizers: byte-level BPE with `</w>` at word ends, trained on the words below."""

import collections
import json

from transformers import CLIPTokenizer

WORDS = """
a a a a an the the of of in on at with and and photo photo photograph painting drawing picture sketch cat cat dog dog bird
horse house tree flower flowers mountain river lake sea beach forest city street sky cloud sun moon star stars night day
morning evening light dark red green blue yellow orange purple black white grey pink brown gold silver old new big small
little tall wide long short round square soft hard warm cold bright quiet beautiful detailed highly quality best worst low
high blurry sharp focus portrait landscape still life oil watercolour pencil ink digital art style of by artist trending
astronaut riding robot castle dragon bicycle boat train bridge heart circle face hand eye eyes smile walking standing sitting
running flying background foreground wooden stone glass metal water fire snow rain autumn winter spring summer
"""
MERGES = 150
SPECIAL = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}

TEXTS = [
    "a photo of a cat",
    "",
    "   leading and   multiple\tspaces\n newline ",
    "An astronaut's photo, riding a (green) horse — 8K café №5",
    "I'll can't we've you're he'd i'm 'S 'T ' '' dogs'",
    "naïve façade Ångström e\u0301 \u212b",
    "日本語のプロンプト 猫",
    "😀 emoji 🚀✨ 👩\u200d🚀 test",
    "a_b-c.d!!! ... ??? wow!",
    "! !! a! !a",
    "3.14159 100% $5 12345678 ½ ²",
    "<|startoftext|> inside <|endoftext|> specials <|endoftext|",
    "HTML &amp; &lt;b&gt; <br/>",
    "ＦＵＬＬ width ﬁ ligature",
    "word " * 100,
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "İstanbul ẞ ß Σας ΌΣΟΣ",
    "tab\u00a0nbsp\u200bzwsp\u3000ideographic\u2028line\x0bvt",
    "hello\x00world\x07",
    "مرحبا بالعالم שלום हिन्दी ไทย",
    "x" * 300,
    "under_score __init__ #tag @name a/b\\c {x} [y] \"z\" `w` ~",
]


def byte_letters():
    """The printable letters that stand for the 256 bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def train_merges():
    """The most frequent pair, again and again; ties go to the pair that sorts first."""
    words = collections.Counter(WORDS.split())
    split = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges = []
    for _ in range(MERGES):
        pairs = collections.Counter()
        for word, parts in split.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        split = {word: merged(parts, best) for word, parts in split.items()}
    return merges


def merged(parts, pair):
    out = []
    for part in parts:
        if out and (out[-1], part) == pair and not out[-1].endswith("</w>"):
            out[-1] += part
        else:
            out.append(part)
    return out


def vocabulary():
    letters = byte_letters()
    merges = train_merges()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    tokens += [SPECIAL["bos_token"], SPECIAL["eos_token"]]
    assert len(set(tokens)) == len(tokens)
    return {token: i for i, token in enumerate(tokens)}, merges


def make_tokenizer(pad, length):
    vocab, merges = vocabulary()
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token=pad, model_max_length=length)


def write_files(folder, pad, files):
    """The tokenizer's files as older and newer tools leave them; `tokenizer_config.json` is there already."""
    vocab, merges = vocabulary()
    if "vocab" in files:
        (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
        lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
        (folder / "merges.txt").write_text("\n".join(lines) + "\n")
        (folder / "special_tokens_map.json").write_text(json.dumps({**SPECIAL, "pad_token": pad}, indent=1))
    if "tokenizer" not in files:
        (folder / "tokenizer.json").unlink()


def write(path, models, names):
    lines = []
    for name in names:
        tokenizer = CLIPTokenizer.from_pretrained(models / name / "tokenizer")
        length = tokenizer.model_max_length
        for text in TEXTS:
            ids = tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids
            full = len(tokenizer(text).input_ids)
            row = {"tokenizer": f"models/{name}/tokenizer", "text": text, "ids": ids, "untruncated": full}
            lines.append(json.dumps(row, ensure_ascii=True, separators=(",", ":")))
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(path.name, len(lines), "texts", path.stat().st_size, "bytes")
