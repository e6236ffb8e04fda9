"""Why a layer takes so long, in words: what its traced step does, and what a cheaper form omits."""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dynact.report.data.ways import as_words
from dynact.report.run import Run
from dynact.schema.cases import CASE_FIELDS
from dynact.schema.digits import ratio_with_interval
from dynact.schema.profile import times_hold

# What is named of a step: at most so much, and of these what takes this share.
_MOST_NAMED, _LEAST_SHARE = 3, 0.05
_RATIO = ["overhead", "overhead_lo", "overhead_hi"]
_OF_ALL_IMPLS = [field for field in CASE_FIELDS if field != "impl"]
# What an operator's name may have around what it does.
_AROUND = re.compile(r"^(aten::)?(native_|_)*|(_backward\d?|_)+$")
_GENERATED = ("Torch-Compiled Region", "CompiledFunction")
# Its engine, and the nodes that it evaluates.
_AUTOGRAD = re.compile(r"(torch::)?autograd::|\w+Backward\d*$")
_WORDS = {
    name: words
    for words, names in {
        "adding": "add sub rsub",
        "multiplying": "mul square addcmul",
        "dividing": "div reciprocal",
        "the max over a dimension": "max amax",
        "the larger of two tensors": "maximum fmax",
        "summing": "sum",
        "averaging": "mean",
        "limiting the range": "clamp clamp_min clamp_max hardtanh",
        "choosing by a condition": "where masked_fill",
        "comparing": "eq ne gt ge lt le",
        "exponentials and powers": "exp log pow sqrt rsqrt",
        "the sigmoid": "sigmoid",
        "the softmax": "softmax",
        "ReLU": "relu threshold",
        "PReLU": "prelu prelu_kernel",
        "SiLU": "silu",
        "GELU": "gelu",
        "pooling": "max_pool2d max_pool2d_with_indices avg_pool2d adaptive_avg_pool2d",
        "copying": "copy clone cat stack repeat",
        "filling with zeros": "fill zero zeros",
        "views of tensors": "t view unsqueeze squeeze expand reshape transpose permute as_strided",
        "picking and placing elements": "index index_put gather scatter scatter_add",
    }.items()
    for name in names.split()
}
_KINDS = {
    "convolution": "the convolution",
    "normalisation": "the normalisation",
    "matmul": "matrix products",
    "communication": "communication",
}


def why_slow(run: Run) -> dict[str, str]:
    """Return by case a sentence that says what most of its traced step is; none without traces.

    Where the run measured a cheaper implementation of the same case, the sentence goes on with how
    much faster that is and, if it was traced too, with what it does without.
    """
    profile = run.profile
    if profile is None:
        return {}
    shares = {
        str(case_id): _shares(kernels) for case_id, kernels in profile.kernels.groupby("case_id")
    }
    ok = run.rows[run.rows["status"] == "ok"]
    said = {}
    for step in profile.steps.to_dict("records"):
        of_step = shares.get(step["case_id"])
        if of_step is not None:
            named = _named(of_step)
            said[step["case_id"]] = (
                f"{run.names[step['activation']]}, {step['phase']}: {_listed(named, step)}"
                f"{_cheaper(named, shares, step, ok)}."
            )
    return said


def _shares(kernels: pd.DataFrame) -> "pd.Series[float]":
    """Return what of the step each sort of work is, the most first."""
    words = [_in_words(*pair) for pair in zip(kernels["operator"], kernels["kind"], strict=True)]
    return kernels["share"].groupby(words).sum().sort_values(ascending=False, kind="stable")


def _in_words(operator: str, kind: str) -> str:
    if operator.startswith(_GENERATED):
        return "generated code"
    if _AUTOGRAD.match(operator):
        return "autograd itself"
    name = _AROUND.sub("", operator)
    return _WORDS.get(name) or _KINDS.get(kind) or name


def _named(shares: "pd.Series[float]") -> "pd.Series[float]":
    most = shares.head(_MOST_NAMED)
    # At least one: of many sorts of work none may have so much.
    return most[(most >= _LEAST_SHARE) | (most == most.iloc[0])]


def _listed(named: "pd.Series[float]", step: Mapping[Any, Any]) -> str:
    of = "the time of its kernels" if step["on_accelerator"] else "the step"
    (first, share), *others = named.items()
    listed = ", ".join(
        [f"{100 * share:.0f} % of {of} is {first}", *(f"{100 * s:.0f} % {w}" for w, s in others)]
    )
    holds = times_hold(step["step_ns"], step["untraced_ns"], step["on_accelerator"])
    return listed if holds else f"{listed} (the trace was disturbed: only the order holds)"


def _cheaper(
    named: "pd.Series[float]",
    shares: Mapping[str, "pd.Series[float]"],
    step: Mapping[Any, Any],
    ok: pd.DataFrame,
) -> str:
    """Return what the cheapest other implementation of the case does without, if it is faster."""
    here = ok[ok["case_id"] == step["case_id"]]
    if here.empty:
        return ""
    dear = here.iloc[-1]
    alike = (ok[_OF_ALL_IMPLS] == dear[_OF_ALL_IMPLS]).all(axis="columns")
    others = ok[alike & (ok["impl"] != dear["impl"])]
    if others["overhead"].dropna().empty:
        return ""
    cheap = others.loc[others["overhead"].astype(float).idxmin()]
    ratio, low, high = _times_as_fast(dear, cheap)
    # Without an interval the ratio itself decides.
    if not (ratio if math.isnan(low) else low) > 1:
        return ""
    other = shares.get(cheap["case_id"])
    without = [] if other is None else [words for words in named.index if words not in other.index]
    how = f"written {as_words(cheap['impl'])}"
    fast = f"{ratio_with_interval(ratio, low, high)} as fast"
    if not without:
        return f"; {how}, it is {fast}"
    return f"; {how}, it does without {' and '.join(without)} and is {fast}"


def _times_as_fast(dear: "pd.Series[Any]", cheap: "pd.Series[Any]") -> tuple[float, float, float]:
    """Return one overhead over another with its 95 % interval: errors of logs add in squares."""
    ratios = np.array([dear[_RATIO], cheap[_RATIO]], dtype=float)
    ratio = ratios[0, 0] / ratios[1, 0]
    within = np.exp(np.hypot(*np.log(ratios[:, 2] / ratios[:, 1])) / 2)
    return float(ratio), float(ratio / within), float(ratio * within)
