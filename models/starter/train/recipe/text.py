"""Stage `text`: teaches the text encoder alone what captions say, before it meets the UNet.

Through the UNet's loss it would learn colours soon and things hardly ever.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from . import networks, pool
from .loop import Stage
from .work import Work

# Components of the latents that the image head predicts, and how much it counts beside the classes.
COMPONENTS, IMAGE = 96, 2.0
# Latents from which the components are found.
SAMPLE = 8192


def components(latents: Tensor) -> Tensor:
    """The latents' principal components `[n, COMPONENTS]`, dampened so that the first do not count alone."""
    flat = latents.flatten(1).float()
    count = min(COMPONENTS, len(flat), flat.shape[1])
    sample = flat[:SAMPLE]
    mean = sample.mean(0)
    _, _, directions = torch.pca_lowrank(sample - mean, q=count)
    found = torch.cat([(part - mean) @ directions for part in flat.split(SAMPLE)])
    dampened = found / found.std(0).sqrt()
    return dampened / dampened.std()


class Heads(nn.Module):
    """What a text's state must tell: classes of every label, and the latents' components. Thrown away after."""

    def __init__(self, width: int, sizes: list[int], image: int):
        super().__init__()
        self.labels = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        self.image = nn.Linear(width, image)


def train(work: Work) -> None:
    """Trains the text encoder and saves it with its tokenizer."""
    drawn, data, settings = pool.read(work), work.data, work.preset.text
    wanted = components(drawn.latents)
    encoder = networks.text_encoder(work.preset, data.tokenizer).to(work.device)
    heads = Heads(settings.hidden_size, pool.label_sizes(data.subjects), wanted.shape[1]).to(work.device)
    stage = Stage("text", work.folder, settings.training, {"text_encoder": encoder, "heads": heads})
    work.seeded(stage.step)
    end = data.tokenizer.eos_token_id

    def states(model: nn.Module, ids: Tensor, anywhere: bool) -> Tensor:
        """States at the first end token or, for half of the texts, at a padding token after it."""
        first = (ids == end).int().argmax(1)
        hidden = model(ids).last_hidden_state
        last = ids.shape[1] - 1
        later = first + (torch.rand_like(first, dtype=torch.float) * (last - first + 1)).long()
        chosen = torch.where(torch.rand_like(later, dtype=torch.float) < 0.5, later.clamp(max=last), first)
        return hidden[torch.arange(len(ids), device=ids.device), chosen if anywhere else first]

    def loss() -> dict[str, Tensor]:
        which = torch.randint(0, len(drawn.latents), (settings.training.batch,), device=work.device)
        state = states(encoder, drawn.captions(which), True)
        labels = drawn.labels[which]
        classes = [F.cross_entropy(head(state).float(), labels[:, i]) for i, head in enumerate(heads.labels)]
        return {"labels": sum(classes), "image": IMAGE * F.mse_loss(heads.image(state).float(), wanted[which])}

    @torch.no_grad()
    def report() -> str:
        which = torch.arange(min(512, len(drawn.latents)), device=work.device)
        state = states(stage.averages["text_encoder"], drawn.captions(which), False)
        found = [head(state).argmax(1) for head in stage.averages["heads"].labels]
        right = [(guess == drawn.labels[which, i]).float().mean() for i, guess in enumerate(found)]
        return f"right: background {right[0]:.1%}, layout {right[1]:.1%}, first thing {right[2]:.1%}"

    stage.train(loss, work.deadline, report)
    stage.averages["text_encoder"].save_pretrained(work.model / "text_encoder")
    data.tokenizer.save_pretrained(work.model / "tokenizer")
    for file in ("vocab.json", "merges.txt"):
        (work.model / "tokenizer" / file).write_bytes((data.folder / "tokenizer" / file).read_bytes())
    stage.forget()
