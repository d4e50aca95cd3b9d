#!/usr/bin/env python3
"""Makes all goldens again: `python generate.py [samplers] [randn] [models] [tokens] [runs] [singles]`; no names means all."""

import os
import pathlib
import sys
import warnings

# Two idle OpenMP threads next to another busy process would spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
warnings.filterwarnings("ignore")

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

import randn_tables  # noqa: E402
import runs  # noqa: E402
import sampler_tables  # noqa: E402
import single_files  # noqa: E402
import tiny_models  # noqa: E402
import tokenizers_made  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE / "models"
TOKENIZER_MODELS = ("sd1", "sd2", "bk")
SINGLE_FILES = ("sd1", "sd2", "bk", "lcm")


def models():
    for name in tiny_models.MODELS:
        tiny_models.save(name, MODELS / name)
        print(name, tiny_models.describe(MODELS / name))


PARTS = {
    "samplers": lambda: sampler_tables.write(HERE / "samplers.json"),
    "randn": lambda: randn_tables.write(HERE / "randn.json"),
    "models": models,
    "tokens": lambda: tokenizers_made.write(HERE / "tokens.json", MODELS, TOKENIZER_MODELS),
    "runs": lambda: runs.write(HERE / "runs", MODELS),
    "singles": lambda: single_files.write(HERE / "single_files", MODELS, SINGLE_FILES),
}


def main():
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    main()
