"""Stage `phrasings`: the text encoder alone learns that words which say nothing of a scene change nothing.

With them, the student shall predict what it predicts of the caption without, along its own way from noise to a picture.
Its UNet stays as it is, and so does what it draws of captions alone.
"""

import copy
import random

import torch
import torch.nn.functional as F
from torch import Tensor

from . import networks, paths
from .loop import Stage
from .work import Work

# Part of the batches that start from pure noise, where text decides; the others are somewhere on the way.
FROM_NOISE = 0.5


def train(work: Work) -> None:
    """Trains the text encoder and saves it, for teacher and student alike."""
    preset, data = work.preset, work.data
    known = work.text_encoder()
    learning = copy.deepcopy(known).requires_grad_(True)
    stage = Stage("phrasings", work.folder, preset.phrasings, {"text_encoder": learning})
    seed = work.seeded(stage.step)
    scenes, captions, rng = data.scenes(seed, preset.kinds), data.captions(seed), random.Random(seed)
    student = networks.trainable(work.few_step_unet(), work.device)
    steps, batch = preset.student.steps, preset.phrasings.batch
    timesteps, angle = (values.to(work.device) for values in paths.angles(steps))
    shape = (batch, preset.autoencoder.latent_channels, *[networks.latent_side(preset)] * 2)

    def ids(texts: list[str]) -> Tensor:
        return data.token_ids(texts).to(work.device)

    def loss() -> dict[str, Tensor]:
        plain = [captions.caption(scenes.scene()) for _ in range(batch)]
        step = 0 if rng.random() < FROM_NOISE else rng.randrange(1, steps)
        latents = torch.randn(shape).to(work.device)
        with torch.no_grad():
            text = known(ids(plain)).last_hidden_state
            for i in range(step + 1):
                wanted = student(latents, timesteps[i], text).sample
                before, latents = latents, paths.stepped(latents, wanted.float(), angle[i] - angle[i + 1])
        text = learning(ids([captions.among_words(caption) for caption in plain])).last_hidden_state
        found = student(before, timesteps[step], text).sample
        return {"velocity": F.mse_loss(found.float(), wanted.float())}

    stage.train(loss, work.deadline)
    stage.averages["text_encoder"].save_pretrained(work.model / "text_encoder")
    stage.forget()
