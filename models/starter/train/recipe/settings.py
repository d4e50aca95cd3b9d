"""What a preset may choose, and the presets."""

from dataclasses import dataclass, replace

from .scenes import MORE_PAIRS


@dataclass(frozen=True)
class Length:
    """How long a stage trains: a number of steps or, where the machine's speed is unknown, of minutes."""

    steps: int | None = None
    minutes: float | None = None

    def fraction(self, steps: int, seconds: float) -> float:
        """Part of the stage that is done, 0 to 1."""
        if self.steps is not None:
            return min(1.0, steps / self.steps)
        return min(1.0, seconds / (60 * self.minutes))


@dataclass(frozen=True)
class Training:
    """What every stage has: `rate` is the highest learning rate of AdamW, `averaging` the decay of the EMA."""

    length: Length
    batch: int
    rate: float
    averaging: float = 0.999


@dataclass(frozen=True)
class AutoencoderSettings:
    """An `AutoencoderKL`. A group of the norm must have several channels: with two, it removes their colour."""

    training: Training
    block_out_channels: tuple[int, ...]
    latent_channels: int
    norm_num_groups: int
    layers_per_block: int = 1
    # Side of the pieces of pictures that the first part of the training sees, 0 for whole pictures.
    crop: int = 0


@dataclass(frozen=True)
class TextSettings:
    """A `CLIPTextModel` and its vocabulary. `training` is the one before it meets the UNet."""

    training: Training
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    vocabulary: int


@dataclass(frozen=True)
class DenoiserSettings:
    """A `UNet2DConditionModel`; `attention` names the levels with cross attention, `heads` the heads of each."""

    training: Training
    block_out_channels: tuple[int, ...]
    attention: tuple[bool, ...]
    heads: int
    layers_per_block: int = 1
    # The text encoder goes on learning at this part of the UNet's rate.
    text_rate: float = 0.3
    # Part of the captions that is left empty, for classifier-free guidance.
    dropped_captions: float = 0.1


@dataclass(frozen=True)
class StudentSettings:
    """`steps` of DDIM without guidance that lead where `teacher_steps` with it do; `paths` of them are learnt from.

    `teacher_steps` must be a multiple of `steps`.
    """

    training: Training
    paths: int
    steps: int = 4
    teacher_steps: int = 12
    guidance_scale: float = 4.0


@dataclass(frozen=True)
class SharpenSettings:
    """The decoder alone, on renders and on `drawn` pictures of the student; `batch` counts each of them."""

    training: Training
    drawn: int


@dataclass(frozen=True)
class JudgeSettings:
    """The classifier that measures pictures. It sees them at `size` and is kept out of the generator's training."""

    training: Training
    size: int = 64
    width: int = 32


@dataclass(frozen=True)
class Preset:
    """One way through the whole recipe. `concepts` counts from the top of `everyday.txt`; None takes every glyph."""

    size: int
    concepts: int | None
    # Pictures whose latents the UNet learns from, and captions drawn for each.
    pool: int
    captions: int
    # Parts of the kinds of scenes in the pool.
    kinds: dict[str, float]
    autoencoder: AutoencoderSettings
    # The autoencoder once more, on whole pictures.
    whole: Training
    text: TextSettings
    denoiser: DenoiserSettings
    student: StudentSettings
    # The student's first step on renders at places that noise tells; `batch` counts first steps.
    places: Training
    # The student on renders that are near what it draws; `batch` counts whole ways from noise.
    nearest: Training
    sharpen: SharpenSettings
    # The text encoder alone, with the student.
    phrasings: Training
    judge: JudgeSettings
    # Whether to let torch compile the UNet: minutes of compilation that only long runs on a GPU win back.
    compiled: bool = False


# Written for 25 minutes of one H200; the rates of its stages are estimates, see README.md.
BUDGET = Preset(
    size=256,
    concepts=None,
    pool=60_000,
    captions=8,
    kinds=MORE_PAIRS,
    autoencoder=AutoencoderSettings(
        training=Training(Length(minutes=5), batch=64, rate=1.5e-3),
        block_out_channels=(32, 64, 128, 128),
        latent_channels=4,
        norm_num_groups=4,
        crop=128,
    ),
    whole=Training(Length(minutes=2), batch=32, rate=6e-4),
    text=TextSettings(
        training=Training(Length(steps=2500), batch=512, rate=1.5e-3),
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=32,
        vocabulary=4096,
    ),
    denoiser=DenoiserSettings(
        training=Training(Length(minutes=8.5), batch=384, rate=6e-4, averaging=0.9985),
        block_out_channels=(96, 192, 320),
        attention=(False, True, True),
        heads=8,
    ),
    student=StudentSettings(Training(Length(minutes=2), batch=256, rate=4e-4), paths=20_000),
    places=Training(Length(minutes=1.5), batch=128, rate=4e-4, averaging=0.997),
    nearest=Training(Length(minutes=2.5), batch=64, rate=2e-4),
    sharpen=SharpenSettings(Training(Length(minutes=1), batch=24, rate=4e-4), drawn=4_000),
    phrasings=Training(Length(minutes=1), batch=256, rate=3e-4),
    judge=JudgeSettings(Training(Length(minutes=1.5), batch=256, rate=2e-3), width=48),
    compiled=True,
)

# Written for an hour and a half of two cores that multiply tiles of bf16 (AMX).
CPU = Preset(
    size=128,
    concepts=100,
    pool=12_000,
    captions=8,
    kinds=MORE_PAIRS,
    autoencoder=AutoencoderSettings(
        training=Training(Length(minutes=20), batch=8, rate=1.5e-3),
        block_out_channels=(16, 32, 64, 128),
        latent_channels=4,
        norm_num_groups=1,
        crop=64,
    ),
    whole=Training(Length(minutes=45), batch=8, rate=6e-4, averaging=0.995),
    text=TextSettings(
        training=Training(Length(minutes=3), batch=96, rate=1.5e-3),
        hidden_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=32,
        vocabulary=2048,
    ),
    denoiser=DenoiserSettings(
        training=Training(Length(minutes=210), batch=24, rate=8e-4),
        block_out_channels=(96, 160, 256),
        attention=(False, True, True),
        heads=4,
    ),
    student=StudentSettings(Training(Length(minutes=40), batch=24, rate=4e-4), paths=6_000),
    places=Training(Length(minutes=35), batch=16, rate=4e-4, averaging=0.997),
    nearest=Training(Length(minutes=100), batch=8, rate=4e-4, averaging=0.998),
    sharpen=SharpenSettings(Training(Length(minutes=40), batch=8, rate=4e-4, averaging=0.995), drawn=2_400),
    phrasings=Training(Length(minutes=40), batch=24, rate=3e-4),
    judge=JudgeSettings(Training(Length(steps=1000), batch=48, rate=2e-3)),
)


def _smoke() -> Preset:
    """Every part, as small as it goes: for the test, not for pictures."""

    def brief(training: Training) -> Training:
        return replace(training, length=Length(steps=4), batch=4)

    return Preset(
        size=32,
        concepts=6,
        pool=24,
        captions=2,
        kinds=MORE_PAIRS,
        autoencoder=replace(
            CPU.autoencoder,
            training=brief(CPU.autoencoder.training),
            block_out_channels=(32, 32, 32),
            crop=16,
        ),
        whole=brief(CPU.whole),
        text=replace(
            CPU.text,
            training=brief(CPU.text.training),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            vocabulary=640,
        ),
        denoiser=replace(
            CPU.denoiser,
            training=brief(CPU.denoiser.training),
            block_out_channels=(32, 64),
            attention=(False, True),
        ),
        student=replace(CPU.student, training=brief(CPU.student.training), paths=8),
        places=brief(CPU.places),
        nearest=brief(CPU.nearest),
        sharpen=SharpenSettings(brief(CPU.sharpen.training), drawn=8),
        phrasings=brief(CPU.phrasings),
        judge=replace(CPU.judge, training=brief(CPU.judge.training), size=32, width=8),
    )


PRESETS = {"budget": BUDGET, "cpu": CPU, "smoke": _smoke()}
