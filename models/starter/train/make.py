"""Makes the starter model: `python make.py train --preset budget --work FOLDER`. README.md beside this tells more."""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

# Before torch, whose environment it sets.
from recipe import autoencoder, data, diffusion, drawn, evaluation, judging, nearest, paths, phrasings
from recipe import places, pool, publishing, sharpen, student, text, whole
from recipe.concepts import plain
from recipe.loop import Deadline, Paused
from recipe.sampling import Sampling
from recipe.settings import PRESETS, Preset
from recipe.work import Work

import torch

STAGES = {
    "vae": autoencoder.train,
    "whole": whole.train,
    "pool": pool.fill,
    "text": text.train,
    "unet": diffusion.train,
    "paths": paths.fill,
    "student": student.train,
    "places": places.train,
    "nearest": nearest.train,
    "drawn": drawn.fill,
    "sharpen": sharpen.train,
    "phrasings": phrasings.train,
    "judge": judging.train,
}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--preset", choices=PRESETS, required=True)
    common.add_argument("--work", type=Path, required=True, help="folder of data, checkpoints and results")
    common.add_argument("--concepts", type=int, help="how many of everyday.txt, instead of the preset's")
    common.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    commands.add_parser("prepare", parents=[common], help="fetch and draw the data; needs a network")
    train = commands.add_parser("train", parents=[common], help="train, or go on training; prepares if need be")
    train.add_argument("--minutes", type=float, help="stop after this long; the same command goes on")
    train.add_argument("--stages", default=",".join(STAGES), help="of %(default)s, the ones to run")
    adopt = commands.add_parser("adopt", parents=[common], help="begin a run with the networks of --model")
    adopt.add_argument("--model", type=Path, required=True)
    publish = commands.add_parser("publish", parents=[common], help="write the trained model to --out")
    publish.add_argument("--teacher", action="store_true", help="the UNet before distillation")
    publish.add_argument("--out", type=Path, required=True)
    evaluate = commands.add_parser("evaluate", parents=[common], help="measure --model, write numbers to --out")
    evaluate.add_argument("--model", type=Path, required=True)
    evaluate.add_argument("--out", type=Path, required=True)
    evaluate.add_argument("--steps", type=int, required=True)
    evaluate.add_argument("--guidance", type=float, required=True)
    evaluate.add_argument("--dpmpp", action="store_true", help="sample by DPM++ 2M, not by the model's scheduler")
    evaluate.add_argument("--only", type=Path, help="a file with the names of the concepts to ask for")
    evaluate.add_argument("--limit", type=int, default=10_000, help="ask for this many single things at most")
    evaluate.add_argument("--backgrounds", type=int, default=96)
    evaluate.add_argument("--pairs", type=int, default=96)
    return parser.parse_args(given)


def opened(options: argparse.Namespace, preset: Preset, minutes: float | None = None) -> Work:
    """The run in `--work`, with its data read."""
    device = torch.device(options.device)
    return Work(preset, data.read(options.work / "data"), options.work, device, Deadline(minutes))


def train(options: argparse.Namespace, preset: Preset) -> None:
    """Runs every stage that is not done yet."""
    unknown = set(options.stages.split(",")) - set(STAGES)
    if unknown:
        raise SystemExit(f"--stages knows {', '.join(STAGES)}; not {', '.join(sorted(unknown))}")
    if not (options.work / "data" / "atlas.npz").exists():
        data.prepare(preset, options.work / "data")
    work = opened(options, preset, options.minutes)
    try:
        for name in options.stages.split(","):
            done = work.folder / f"{name}.done"
            if not done.exists():
                work.deadline.check()
                STAGES[name](work)
                done.touch()
    except Paused:
        print("stopped for now; the same command goes on from here", flush=True)


def adopt(options: argparse.Namespace, preset: Preset) -> None:
    """Begins a run with the networks of a model, whose UNet and text encoder it will train on."""
    if not (options.work / "data" / "atlas.npz").exists():
        data.prepare(preset, options.work / "data")
    for name in ("vae", "text_encoder", "tokenizer", "unet", "scheduler"):
        shutil.copytree(options.model / name, options.work / "model" / name)
    # Few-step models are students already: stages after `student` need no other.
    for name in ("unet", "scheduler"):
        shutil.copytree(options.model / name, options.work / "student" / name)
    # The pool's captions must be in the model's own words.
    shutil.copytree(options.model / "tokenizer", options.work / "data" / "tokenizer", dirs_exist_ok=True)
    for name in ("vae", "text"):
        (options.work / f"{name}.done").touch()


def publish(options: argparse.Namespace, preset: Preset) -> None:
    """Writes the few-step model, or the one before it."""
    model, settings = options.work / "model", preset.student
    denoiser = model if options.teacher else options.work / "student"
    if not (denoiser / "scheduler").exists():
        raise SystemExit(f"{denoiser} holds no trained model yet: `train` goes on")
    names = [concept.name for concept in data.read(options.work / "data").concepts]
    teacher = (settings.teacher_steps, settings.guidance_scale)
    steps, guidance_scale = teacher if options.teacher else (settings.steps, 1.0)
    publishing.publish(model, denoiser, steps, guidance_scale, names, options.out)


def evaluate(options: argparse.Namespace, preset: Preset) -> None:
    """Measures a model on all concepts of the data, or on the ones in a file."""
    work = opened(options, preset)
    names = [concept.name for concept in work.data.concepts]
    known = list(range(len(names)))
    if options.only:
        lines = options.only.read_text(encoding="utf-8").splitlines()
        known = [names.index(plain(line)) for line in lines if line and not line.startswith("#")]
    sampling = Sampling(options.steps, options.guidance, options.dpmpp)
    suite = evaluation.Suite(options.limit, options.backgrounds, options.pairs)
    print(evaluation.table(evaluation.evaluate(work, options.model, sampling, suite, known, options.out)))


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    preset = PRESETS[options.preset]
    if options.concepts:
        preset = replace(preset, concepts=options.concepts)
    if options.command == "prepare":
        data.prepare(preset, options.work / "data")
    elif options.command == "train":
        train(options, preset)
    elif options.command == "publish":
        publish(options, preset)
    elif options.command == "adopt":
        adopt(options, preset)
    else:
        evaluate(options, preset)


if __name__ == "__main__":
    main()
