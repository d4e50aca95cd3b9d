"""Golden numbers of torch's CPU generator: several draws from one stream, long ones as samples of their elements."""

import json

import torch

SEEDS = (0, 42, 123456789, 2**32 + 7, 2**64 - 1)
STREAMS = (
    (1,),
    (5, 5, 4),
    (15, 16),
    (17, 17),
    (31, 3, 100, 2),
    (1024, 1024),
    (7, 4 * 16 * 16, 8),
    (4 * 24 * 17, 1),
    (4 * 64 * 64 + 9, 64),
)


def elements(n):
    """Which elements of a draw are kept."""
    return range(n) if n <= 40 else sorted({*range(5), *range(5, n, n // 16), *range(n - 18, n)})


def write(path):
    lines = []
    for seed in SEEDS:
        for sizes in STREAMS:
            generator = torch.Generator("cpu").manual_seed(seed)
            draws = []
            for n in sizes:
                values = torch.randn(n, generator=generator)
                kept = [round(float(values[i]), 9) for i in elements(n)]
                draws.append({"n": n, "at": [*elements(n)], "values": kept})
            lines.append(json.dumps({"seed": seed, "draws": draws}, separators=(",", ":")))
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(path.name, len(lines), "streams", path.stat().st_size, "bytes")
