"""Made-up network and site rows: the columns of a run, with figures that follow from a seed."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from dynact.report.run import COLUMNS

ACTIVATIONS = ("prelu", "silu", "frelu", "dyrelu_b")
NETWORK_FIGURES = [
    "time_ns", "time_p20_ns", "time_p80_ns", "baseline_time_ns", "overhead", "overhead_lo",
    "overhead_hi", "pairs", "converged", "parameters", "baseline_parameters", "flops",
    "baseline_flops", "macs", "baseline_macs", "uncounted_ops", "peak_bytes",
    "baseline_peak_bytes", "saved_for_backward_bytes", "baseline_saved_for_backward_bytes",
    "memory_fixed_bytes", "memory_per_image_bytes", "baseline_memory_fixed_bytes",
    "baseline_memory_per_image_bytes", "counted_image_size", "speed_drift", "sites", "kept_sites",
]  # fmt: skip
KEPT_BECAUSE = "Expected 3D (unbatched) or 4D (batched) input to conv2d; got 2D"
SPATIAL = ("frelu", "frelu_light", "dyrelu_c", "funnel_maxpool", "funnel_avgpool")

# (channels, resolution) of the sites; 0 marks a fully connected one.
_STAGES = {
    "lenet": ("relu", [(6, 28), (16, 10), (120, 0), (84, 0)]),
    "resnet18": (
        "relu",
        [(64, 112), *[(64, 56)] * 4, *[(128, 28)] * 4, *[(256, 14)] * 4, *[(512, 7)] * 4],
    ),
    "unet": (
        "relu",
        [
            *[(8, 64)] * 2, *[(16, 32)] * 2, *[(32, 16)] * 2, (32, 1), *[(16, 32)] * 2,
            *[(8, 64)] * 2,
        ],
    ),
    "narrow_unet": ("relu", [(8, 64), (16, 32), (32, 16), (16, 32), (8, 64)]),
    "resnet50": (
        "relu",
        [
            (64, 112),
            *[(64, 56), (64, 56), (256, 56)] * 3,
            *[(128, 56), (128, 28), (512, 28)],
            *[(128, 28), (128, 28), (512, 28)] * 3,
            *[(256, 28), (256, 14), (1024, 14)],
            *[(256, 14), (256, 14), (1024, 14)] * 5,
            *[(512, 14), (512, 7), (2048, 7)],
            *[(512, 7), (512, 7), (2048, 7)] * 2,
        ],
    ),
    "mobilenet_v2": (
        "relu6",
        [
            *[(32, 112), (32, 112), (96, 112), (96, 56)],
            *[(144, 56)] * 3, *[(144, 28)], *[(192, 28)] * 5, *[(192, 14)],
            *[(384, 14)] * 8, *[(576, 14)] * 5, *[(576, 7)], *[(960, 7)] * 6, (1280, 7),
        ],
    ),
    "shufflenet_v2_x0_5": (
        "relu",
        [
            (24, 112), (24, 28), (24, 56), (24, 28), *[(24, 28)] * 6,
            (48, 14), (48, 28), (48, 14), *[(48, 14)] * 14,
            (96, 7), (96, 14), (96, 7), *[(96, 7)] * 6, (1024, 7),
        ],
    ),
    "mobilenet_v3_small": (
        "hardswish",
        [
            (16, 112), (16, 56), (8, 1), (72, 56), (72, 28), *[(88, 28)] * 2, (96, 28), (96, 14),
            (24, 1), *[(240, 14), (240, 14), (64, 1)] * 2, *[(120, 14), (120, 14), (32, 1)],
            (288, 14), (288, 7), (72, 1), *[(576, 7), (576, 7), (144, 1)] * 2, (576, 7), (1024, 0),
        ],
    ),
}  # fmt: skip


def build_networks(
    networks: tuple[str, ...] = ("mobilenet_v2", "resnet18"),
    activations: tuple[str, ...] = ACTIVATIONS,
    phases: tuple[str, ...] = ("inference", "training"),
    placements: tuple[str, ...] = ("all",),
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return network rows, all ok, and the layer rows of every site in them."""
    random = np.random.default_rng(seed)
    rank = {name: i for i, name in enumerate(activations)}
    rows: list[dict[str, Any]] = []
    layers: dict[str, dict[str, Any]] = {}
    for network, placement, activation, phase in product(networks, placements, activations, phases):
        baseline, shapes = _STAGES[network]
        every: list[dict[str, Any]] = [
            {
                "name": f"{'features' if r else 'classifier'}.{i}", "original": baseline,
                "channels": c, "height": r or None, "width": r or None,
            }
            for i, (c, r) in enumerate(shapes)
        ]  # fmt: skip
        kept = [site for site in every if not site["height"] and activation in SPATIAL]
        replaced = [site for site in every if site not in kept]
        if placement == "paper":
            replaced = replaced[1::3]
        step = 3.0 if phase == "training" else 1.0
        extra = 0.0
        for site in replaced:
            c, r = site["channels"], site["height"] or 1
            layer = _layer(activation, phase, baseline, c, r, rank[activation], step)
            layers[layer["case_id"]] = layer
            extra += layer["baseline_time_ns"] * (layer["overhead"] - 1)
        base = step * 8 * sum(2.0 * c * max(r, 1) ** 2 + 2e4 for c, r in shapes)
        overhead = 1 + extra * random.uniform(0.9, 1.25) / base
        half = random.uniform(0.004, 0.02)
        per_image, training = 4e6 * len(every) ** 0.5, phase == "training"
        parameters = 90_000 * len(every)
        rows.append(
            {
                "case_id": f"{network}-{activation}-{phase}-{placement}",
                "network": network, "activation": activation, "placement": placement,
                "phase": phase, "dtype": "float32", "batch": 8,
                "image_size": 32 if network == "lenet" else 224, "device": "cpu",
                "impl": "reference", "sample": "", "loss": "", "replaced": "", "status": "ok",
                "message": "", "time_ns": base * overhead, "time_p20_ns": base * overhead * 0.97,
                "time_p80_ns": base * overhead * 1.05, "baseline_time_ns": base,
                "host_share": None, "baseline_host_share": None,
                "device_time_ns": None, "baseline_device_time_ns": None, "device_overhead": None,
                "device_overhead_lo": None, "device_overhead_hi": None,
                "overhead": overhead, "overhead_lo": overhead * (1 - half),
                "overhead_hi": overhead * (1 + half), "visits": None,
                "processes": None, "observations": None, "disturbed_visits": None,
                "pairs": 40, "converged": True,
                "speed_drift": 1.0,
                "parameters": parameters + 7000 * rank[activation],
                "baseline_parameters": parameters,
                "flops": int(9e8 * (1 + 0.02 * rank[activation])), "baseline_flops": int(9e8),
                "macs": int(4e8 * (1 + 0.01 * rank[activation])), "baseline_macs": int(4e8),
                "uncounted_ops": [], "peak_bytes": 5e7 * (1 + 0.5 * rank[activation]),
                "baseline_peak_bytes": 5e7,
                "saved_for_backward_bytes": 4e7 * (1 + rank[activation]) * training,
                "baseline_saved_for_backward_bytes": 4e7 * training,
                "memory_fixed_bytes": 4e7, "baseline_memory_fixed_bytes": 3e7,
                "memory_per_image_bytes": per_image * (1 + 0.6 * rank[activation]),
                "baseline_memory_per_image_bytes": per_image,
                "counted_image_size": 32 if network == "lenet" else 224,
                "sites": replaced,
                "kept_sites": [site | {"reason": KEPT_BECAUSE} for site in kept],
            }
        )  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(list(layers.values()), columns=list(COLUMNS))


def fail_networks(networks: pd.DataFrame, where: list[int], status: str = "oom") -> pd.DataFrame:
    """Return network rows with some of them failed, as load gives them."""
    networks = networks.copy()
    index = networks.index[where]
    for column in NETWORK_FIGURES:
        networks[column] = networks[column].astype(object)
        networks.loc[index, column] = None
    networks.loc[index, "status"] = status
    return networks


def _layer(
    activation: str, phase: str, baseline: str, channels: int, size: int, rank: int, step: float
) -> dict[str, Any]:
    time_ns = step * (8 * 0.2 * channels * size**2 + 4e3)
    # Dearer where the layer is small; rank 0 is a little quicker than the original.
    overhead = (0.97 + 0.06 * (channels % 3)) * 1.45**rank * (1 + 0.4 * rank / size)
    return {
        "case_id": f"{activation}-{phase}-{baseline}-{channels}x{size}",
        "activation": activation, "impl": "reference", "phase": phase, "mode": "eager",
        "dtype": "float32", "memory_format": "contiguous", "batch": 8, "channels": channels,
        "height": size, "width": size, "device": "cpu", "baseline": baseline, "status": "ok",
        "message": "", "time_ns": time_ns * overhead * 1.003, "baseline_time_ns": time_ns,
        "overhead": overhead, "overhead_lo": overhead * 0.98, "overhead_hi": overhead * 1.03,
        "pairs": 40, "converged": True,
    }  # fmt: skip
