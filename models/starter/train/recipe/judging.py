"""Stage `judge`: the classifier that measures pictures. The generator never learns from it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from . import networks
from .loop import Stage, save
from .work import Work

# Generated pictures are noisier and softer than rendered ones; the judge shall not mind.
NOISE = 0.08


def roughened(pictures: Tensor) -> Tensor:
    """Half of the pictures softened, all of them with noise."""
    soft = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    chosen = torch.rand(len(pictures), 1, 1, 1, device=pictures.device) < 0.5
    return torch.where(chosen, soft, pictures) + NOISE * torch.randn_like(pictures)


def train(work: Work) -> None:
    """Trains the judge on single things, each equally often, and saves it."""
    settings, subjects = work.preset.judge, work.data.subjects
    model = networks.Judge(subjects, settings.width).to(work.device)
    stage = Stage("judge", work.folder, settings.training, {"judge": model})
    scenes, renderer = work.data.scenes(work.seeded(stage.step)), work.renderer(settings.size)

    def loss() -> dict[str, Tensor]:
        drawn = torch.randint(0, subjects, (settings.training.batch,)).tolist()
        pictures = renderer.pictures([scenes.alone(subject) for subject in drawn])
        logits = model(roughened(pictures)).float()
        return {"class": F.cross_entropy(logits, torch.tensor(drawn, device=logits.device))}

    @torch.no_grad()
    def report() -> str:
        pictures = renderer.pictures([scenes.alone(subject) for subject in range(subjects)])
        found = stage.averages["judge"](pictures).argmax(1).cpu()
        return f"right on fresh renders: {(found == torch.arange(subjects)).float().mean():.1%}"

    stage.train(loss, work.deadline, report)
    save(stage.averages["judge"].state_dict(), work.folder / "judge.pt")
    stage.forget()


def read(work: Work) -> networks.Judge:
    """The trained judge."""
    model = networks.Judge(work.data.subjects, work.preset.judge.width)
    model.load_state_dict(torch.load(work.folder / "judge.pt", weights_only=True))
    return model.to(work.device).eval().requires_grad_(False)
