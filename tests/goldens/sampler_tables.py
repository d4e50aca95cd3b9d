"""Golden tables of the samplers: what diffusers' schedulers do with a model that is a formula.

The tables of a scheduler stay float32, as users run it; its steps run in double precision, so that a comparison sees
formulas and not rounding.
"""

import contextlib
import importlib
import json
import math

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

WIDTH = 4  # elements of the sample
KEEP_ALL = 20  # longer runs keep only the last sample

CLASSES = {
    "ddim": DDIMScheduler,
    "pndm": PNDMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler-a": EulerAncestralDiscreteScheduler,
    "dpmpp-2m": DPMSolverMultistepScheduler,
    "dpmpp-2m-karras": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
    "lcm": LCMScheduler,
}
OWN = {cls.__name__: cls for cls in CLASSES.values()}
TRAINED_BETAS = [round(0.01 * i + 0.005, 3) for i in range(12)]
STABLE_DIFFUSION = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}


def overrides(sampler, config):
    """What a user passes beside the config to get the sampler of that name."""
    over = {
        "ddim": {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1},
        "pndm": {"skip_prk_steps": True},
        "euler": {"use_karras_sigmas": False},
        "dpmpp-2m": {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": False},
        "dpmpp-2m-karras": {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
        "unipc": {"solver_order": 2, "use_karras_sigmas": False},
        "lcm": {"clip_sample": False},
    }.get(sampler, {})
    if config["_class_name"] != "LCMScheduler" and sampler not in ("lcm", "ddim"):
        over = {"steps_offset": 1, **over}  # as StableDiffusionPipeline sets it
    return over


def make_scheduler(sampler, config):
    if sampler:
        return CLASSES[sampler].from_config(config, **overrides(sampler, config))
    cls = OWN[config["_class_name"]]
    over = {} if cls is LCMScheduler else {"steps_offset": 1}
    if cls is DDIMScheduler:
        over["clip_sample"] = False
    if cls is PNDMScheduler:
        over["skip_prk_steps"] = True
    return cls.from_config(config, **over)


def model(sample, timestep):
    return 0.5 * sample + torch.tensor([math.cos(0.01 * timestep + j) for j in range(WIDTH)])


def noise(draw):
    return torch.tensor([1.2 * math.sin(1.7 * (WIDTH * draw + j) + 0.3) for j in range(WIDTH)])


class DoubleTorch:
    """The torch module, with float64 under the name of float32."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@contextlib.contextmanager
def double_precision(scheduler):
    module = importlib.import_module(type(scheduler).__module__)
    draws = iter(range(1_000_000))
    saved = {name: getattr(module, name) for name in ("torch", "randn_tensor") if hasattr(module, name)}
    module.torch = DoubleTorch()
    module.randn_tensor = lambda shape, **_: noise(next(draws)).reshape(shape)
    torch.set_default_dtype(torch.float64)
    for name in ("sigmas", "alphas_cumprod", "final_alpha_cumprod"):
        if hasattr(scheduler, name):
            setattr(scheduler, name, getattr(scheduler, name).double())
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        for name, value in saved.items():
            setattr(module, name, value)


def run(sampler, config, steps):
    scheduler = make_scheduler(sampler, config)
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # or else two equal first timesteps make it skip one
    timesteps = [float(t) for t in scheduler.timesteps]
    samples, scales = [], []
    with double_precision(scheduler):
        init = float(scheduler.init_noise_sigma)
        x = torch.tensor([[math.sin(1.0 + 2.0 * j) for j in range(WIDTH)]]) * init
        for value, t in zip(timesteps, scheduler.timesteps):
            scaled = scheduler.scale_model_input(x, t)
            scales.append(float(scaled[0, 0] / x[0, 0]))
            x = scheduler.step(model(scaled, value), t, x).prev_sample
            samples.append(x[0].tolist())
    assert all(math.isfinite(v) for row in samples for v in row), (sampler, config, steps)
    return {
        "sampler": sampler,
        "steps": steps,
        "config": config,
        "init_noise_sigma": init,
        "timesteps": timesteps,
        "input_scales": [] if all(s == 1.0 for s in scales) else scales,
        "samples": samples if steps <= KEEP_ALL else samples[-1:],
    }


def main_cases():
    """Every sampler with every prediction type and spacing, at several lengths."""
    for sampler in CLASSES:
        for prediction in ("epsilon", "v_prediction", "sample"):
            if prediction == "sample" and sampler in ("pndm", "euler-a"):
                continue  # diffusers has none
            for spacing in ("leading", "linspace", "trailing"):
                if sampler == "lcm" and spacing != "leading":
                    continue  # it makes no difference there
                for steps in (1, 2, 4, 7, 20):
                    yield sampler, {"prediction_type": prediction, "timestep_spacing": spacing}, steps


def field_cases():
    """Fields one at a time."""
    zero_snr = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    for sampler in CLASSES:
        for change in (
            {"beta_schedule": "linear"},
            {"beta_schedule": "squaredcos_cap_v2"},
            {"num_train_timesteps": 100},
            {"num_train_timesteps": 12, "trained_betas": TRAINED_BETAS, "original_inference_steps": 12},
            {},
            zero_snr,
        ):
            yield sampler, change, 5
    for sampler in ("euler", "euler-a", "dpmpp-2m", "dpmpp-2m-karras", "unipc"):
        yield sampler, {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, 5
        yield sampler, {}, 15
        yield sampler, {}, 50
    for sampler in ("ddim", "pndm", "euler"):
        yield sampler, {}, 333
    lcm_class = {"_class_name": "LCMScheduler", "steps_offset": 0, "set_alpha_to_one": True}
    for sampler in CLASSES:
        yield sampler, {**lcm_class, "timestep_spacing": "leading"}, 4


def own_cases():
    """Schedulers from their own configs."""
    for name in OWN:
        yield None, {"_class_name": name}, 6, True
    for name in OWN:
        yield None, {"_class_name": name}, 6, False
    for value in (False, True):
        for name in ("DDIMScheduler", "PNDMScheduler", "LCMScheduler"):
            yield None, {"_class_name": name, "set_alpha_to_one": value}, 4, False
    karras = {"use_karras_sigmas": True}
    euler, dpm, uni = "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"
    for name in (euler, dpm, uni):
        for change in (
            karras,
            {**karras, "sigma_min": 0.1, "sigma_max": 10.0},
            {**karras, "beta_schedule": "squaredcos_cap_v2"},
            {**karras, "final_sigmas_type": "sigma_min"},
            {"final_sigmas_type": "sigma_min"},
        ):
            if name == dpm and "sigma_min" in change:
                continue  # not a field of that class
            for steps in (1, 8):
                yield None, {"_class_name": name, **change}, steps, False
    yield None, {"_class_name": euler, "interpolation_type": "log_linear"}, 6, False
    for order in (1, 2, 3):
        for change in ({}, {"lower_order_final": False, "final_sigmas_type": "sigma_min"}):
            for steps in (1, 3, 16):
                for name in (dpm, uni):
                    yield None, {"_class_name": name, "solver_order": order, **change}, steps, False
    yield None, {"_class_name": dpm, "solver_type": "heun"}, 8, False
    yield None, {"_class_name": dpm, "solver_type": "bh2"}, 8, False
    yield None, {"_class_name": dpm, "euler_at_final": True, "final_sigmas_type": "sigma_min"}, 16, False
    for spacing in ("linspace", "leading", "trailing"):
        clipped = {"lambda_min_clipped": -5.1, "beta_schedule": "squaredcos_cap_v2", "timestep_spacing": spacing}
        yield None, {"_class_name": dpm, **clipped}, 8, False
    yield None, {"_class_name": uni, "solver_type": "bh1", "final_sigmas_type": "sigma_min"}, 8, False
    yield None, {"_class_name": uni, "solver_type": "midpoint"}, 8, False
    yield None, {"_class_name": uni, "disable_corrector": [0, 2]}, 8, False
    for change in ({"original_inference_steps": 100}, {"original_inference_steps": 9}, {"timestep_scaling": 1.0}):
        yield None, {"_class_name": "LCMScheduler", **change}, 8, False


def cases():
    for sampler, change, steps in [*main_cases(), *field_cases()]:
        yield run(sampler, {**STABLE_DIFFUSION, **change}, steps)
    for sampler, change, steps, bare in own_cases():
        yield run(sampler, change if bare else {**STABLE_DIFFUSION, **change}, steps)


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return value


def write(path):
    lines = []
    for case in cases():
        tables = {key: value if key == "config" else rounded(value) for key, value in case.items()}
        lines.append(json.dumps(tables, separators=(",", ":")))
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(path.name, len(lines), "runs", path.stat().st_size, "bytes")
