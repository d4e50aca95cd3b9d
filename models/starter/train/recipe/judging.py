"""Stage `judge`: the classifier that measures pictures. The generator never learns from it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import networks
from .loop import Stage, save
from .rendering import Renderer
from .scenes import SceneMaker
from .settings import JudgeSettings
from .work import Work

# Generated pictures are noisier and softer than rendered ones; the judge shall not mind.
NOISE = 0.08


def roughened(pictures: Tensor) -> Tensor:
    """Half of the pictures softened, all of them with noise."""
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    chosen = torch.rand(len(pictures), 1, 1, 1, device=pictures.device) < 0.5
    return torch.where(chosen, soft, pictures) + NOISE * torch.randn_like(pictures)


def learn(stage: Stage, settings: JudgeSettings, scenes: SceneMaker, renderer: Renderer, deadline) -> None:
    """Trains the stage's module `judge` on single things, everything equally often."""
    model, subjects = stage.modules["judge"], scenes.concepts + scenes.shapes

    def loss() -> dict[str, Tensor]:
        drawn = torch.randint(0, subjects, (settings.training.batch,)).tolist()
        pictures = renderer.pictures([scenes.alone(subject) for subject in drawn])
        logits = model(roughened(pictures)).float()
        return {"class": F.cross_entropy(logits, torch.tensor(drawn, device=logits.device))}

    @torch.no_grad()
    def report() -> str:
        drawn = list(range(subjects))
        pictures = renderer.pictures([scenes.alone(subject) for subject in drawn])
        found = stage.averages["judge"](pictures).argmax(1).cpu()
        return f"right on fresh renders: {(found == torch.tensor(drawn)).float().mean():.1%}"

    stage.train(loss, deadline, report)


def train(work: Work) -> None:
    """Trains the judge and saves it."""
    settings = work.preset.judge
    model = networks.Judge(work.data.subjects, settings.width).to(work.device)
    stage = Stage("judge", work.folder, settings.training, {"judge": model})
    scenes = work.data.scenes(work.seeded(stage.step))
    learn(stage, settings, scenes, work.renderer(settings.size), work.deadline)
    save(stage.averages["judge"].state_dict(), work.folder / "judge.pt")
    stage.forget()


def read(work: Work) -> networks.Judge:
    """The trained judge."""
    model = networks.Judge(work.data.subjects, work.preset.judge.width)
    model.load_state_dict(torch.load(work.folder / "judge.pt", weights_only=True))
    return model.to(work.device).eval().requires_grad_(False)
