#!/usr/bin/env python3
"""Makes all goldens again: `python generate.py [PART...] [--only MODEL...]`.

No names means all parts; `--only` leaves the other models and their runs as they are.
"""

import argparse
import os
import pathlib
import warnings

# Two idle OpenMP threads next to another busy process would spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
warnings.filterwarnings("ignore")

import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

import loras  # noqa: E402
import picture_runs  # noqa: E402
import randn_tables  # noqa: E402
import runs  # noqa: E402
import sampler_tables  # noqa: E402
import single_files  # noqa: E402
import tiny_models  # noqa: E402
import tokenizers_made  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE / "models"
TOKENIZER_MODELS = ("sd1", "sd2", "bk")
SINGLE_FILES = ("sd1", "sd2", "bk", "lcm", "sdxl", "ssd-1b")


def models(only):
    for name in only:
        tiny_models.save(name, MODELS / name)
        print(name, tiny_models.describe(MODELS / name))


PARTS = {
    "samplers": lambda _: sampler_tables.write(HERE / "samplers.json"),
    "randn": lambda _: randn_tables.write(HERE / "randn.json"),
    "models": models,
    "tokens": lambda _: tokenizers_made.write(HERE / "tokens.json", MODELS, TOKENIZER_MODELS),
    "runs": lambda only: runs.write(HERE / "runs", MODELS, only),
    "loras": lambda _: loras.write(HERE / "loras", MODELS),
    "pictures": lambda _: picture_runs.write(HERE / "pictures.safetensors", MODELS),
    "singles": lambda _: single_files.write(HERE / "single_files", MODELS, SINGLE_FILES),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--only", nargs="+", choices=tiny_models.MODELS, default=list(tiny_models.MODELS))
    arguments = parser.parse_args()
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for part in arguments.parts or PARTS:
        PARTS[part](arguments.only)


if __name__ == "__main__":
    main()
