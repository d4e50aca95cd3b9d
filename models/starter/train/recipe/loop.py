"""What every training stage shares: the schedule, averaged weights, checkpoints, and going on where it stopped."""

import copy
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn as nn
from torch import Tensor

from .networks import multiplies_bf16
from .settings import Training

WARM_UP_STEPS = 50
# Learning rates stay at their height for this part of a stage, then fall along a cosine to this part of it.
CONSTANT, LOWEST = 0.4, 0.02
SECONDS_BETWEEN_CHECKPOINTS = 200
SECONDS_BETWEEN_LINES = 20
# A step of longer than this was interrupted, by a machine that slept, say.
LONGEST_STEP = 60


class Paused(Exception):
    """The time given to this call is over; everything is saved."""


class Deadline:
    """When a call has to stop: `minutes` from now, or never."""

    def __init__(self, minutes: float | None):
        self._end = math.inf if minutes is None else time.monotonic() + 60 * minutes

    def check(self) -> None:
        if time.monotonic() >= self._end:
            raise Paused


def rate_at(step: int, fraction: float) -> float:
    """The learning rate as a part of its highest."""
    decay = max(0.0, (fraction - CONSTANT) / (1 - CONSTANT))
    cosine = LOWEST + (1 - LOWEST) * 0.5 * (1 + math.cos(math.pi * decay))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * cosine


def autocast(device: torch.device):
    """bf16 where it is faster in training."""
    return torch.autocast(device.type, torch.bfloat16) if multiplies_bf16(device) else nullcontext()


def save(state: object, file: Path) -> None:
    """`torch.save` that never leaves half a file."""
    part = file.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, file)


class Stage:
    """One training run. `modules` learn by AdamW, `rates` scales the learning rate of some of them.

    `averages` hold the same modules' exponential moving averages, which are what a stage gives to the next.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        training: Training,
        modules: dict[str, nn.Module],
        rates: dict[str, float] | None = None,
    ):
        self.name, self.folder, self.training, self.modules = name, folder, training, modules
        self.averages = {key: copy.deepcopy(module).eval().requires_grad_(False) for key, module in modules.items()}
        self._rates = [(rates or {}).get(key, 1.0) for key in modules]
        groups = [{"params": list(module.parameters())} for module in modules.values()]
        self._optimizer = torch.optim.AdamW(groups, training.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.step, self.seconds = 0, 0.0
        self.device = next(next(iter(modules.values())).parameters()).device
        self._file = folder / f"{name}.checkpoint"
        if self._file.exists():
            self._load()

    @property
    def fraction(self) -> float:
        return self.training.length.fraction(self.step, self.seconds)

    def train(
        self,
        loss: Callable[[], dict[str, Tensor]],
        deadline: Deadline,
        report: Callable[[], str] | None = None,
    ) -> None:
        """Trains to the end of the stage. `loss` gives losses by name, whose sum is minimized, for a fresh batch.

        `report` says more about the averaged modules, at every checkpoint.

        Raises `Paused` when the deadline passes.
        """
        print(f"{self.name}: {self._state()}", flush=True)
        saved = told = time.monotonic()
        for losses in self._steps(loss):
            now = time.monotonic()
            if now - told >= SECONDS_BETWEEN_LINES:
                told = now
                numbers = " ".join(f"{key} {float(value.detach()):.4f}" for key, value in losses.items())
                print(f"{self.name}: {self._state()} {numbers}", flush=True)
            if now - saved >= SECONDS_BETWEEN_CHECKPOINTS:
                self._checkpoint(report)
                saved = time.monotonic()
            try:
                deadline.check()
            except Paused:
                self._checkpoint(report)
                raise
        self._checkpoint(report)

    def forget(self) -> None:
        """Removes the checkpoint of a stage whose result is saved elsewhere."""
        self._file.unlink(missing_ok=True)

    def _steps(self, loss: Callable[[], dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        for module in self.modules.values():
            module.train()
        trained = [parameter for module in self.modules.values() for parameter in module.parameters()]
        averaged = [parameter for module in self.averages.values() for parameter in module.parameters()]
        while self.fraction < 1:
            start = time.monotonic()
            rate = self.training.rate * rate_at(self.step, self.fraction)
            for group, factor in zip(self._optimizer.param_groups, self._rates):
                group["lr"] = rate * factor
            with autocast(self.device):
                losses = loss()
            sum(losses.values()).backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            self._optimizer.step()
            self._optimizer.zero_grad()
            decay = min(self.training.averaging, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(averaged, [parameter.detach() for parameter in trained], 1 - decay)
            self.step += 1
            # A GPU works on when the step returns; the clock is right again at the next synchronisation.
            self.seconds += min(LONGEST_STEP, time.monotonic() - start)
            yield losses

    def _state(self) -> str:
        left = self.seconds * (1 - self.fraction) / self.fraction if self.fraction else 0.0
        speed = self.step * self.training.batch / self.seconds if self.seconds else 0.0
        seen = self.step * self.training.batch
        return (
            f"{self.fraction:.1%} step {self.step} seen {seen} at {speed:.1f}/s, "
            f"{self.seconds / 60:.1f} min done, {left / 60:.1f} left"
        )

    def _checkpoint(self, report: Callable[[], str] | None) -> None:
        if report:
            print(f"{self.name}: {report()}", flush=True)
        state = {
            "modules": {key: module.state_dict() for key, module in self.modules.items()},
            "averages": {key: module.state_dict() for key, module in self.averages.items()},
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        save(state, self._file)

    def _load(self) -> None:
        state = torch.load(self._file, map_location=self.device, weights_only=True)
        for key in self.modules:
            self.modules[key].load_state_dict(state["modules"][key])
            self.averages[key].load_state_dict(state["averages"][key])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
