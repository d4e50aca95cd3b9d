"""Stage `places`: the student's first step learns to read from the noise where things are and how large.

Later steps learn beside it from where it should lead, not from where the student has come to: as long as the noise is not
read, their errors would drown what the first step learns.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .paths import velocity_to
from .told import Learner
from .work import Work

# Of a batch, so many learn a later step as well.
GO_ON = 8
# First steps by which a checkpoint tells what was learnt.
WATCHED = 96


def train(work: Work) -> None:
    """Trains the student's UNet on and saves it."""
    settings = work.preset.places
    learner = Learner(work, "places", settings)

    def loss() -> dict[str, Tensor]:
        drawn = learner.told.draw(settings.batch)
        timesteps, angle = learner.steps()
        _, first = drawn.first_step(learner.unet, timesteps[0])
        i = learner.rng.randrange(1, len(timesteps))
        noise, goals, text = drawn.noise[:GO_ON], drawn.goals[:GO_ON], drawn.text[:GO_ON]
        here, there = (angle[at].cos() * goals + angle[at].sin() * noise for at in (i, i + 1))
        velocity = learner.unet(here, timesteps[i], text).sample.float()
        return {"first": first, "then": F.mse_loss(velocity, velocity_to(here, there, angle[i] - angle[i + 1]))}

    @torch.no_grad()
    def report() -> str:
        _, error = learner.told.draw(WATCHED).first_step(learner.average, learner.steps()[0][0])
        return f"error of first steps {float(error):.3f}"

    learner.stage.train(loss, work.deadline, report)
    learner.save()
