"""Words for activations that are called on another input than most."""

from collections.abc import Callable

import pandas as pd

from dynact import activations
from dynact.report.data.names import display_names


def own_inputs(rows: pd.DataFrame) -> str:
    """Return what sets inputs apart among rows of one baseline, empty where nothing does."""
    names = display_names({*rows["activation"], *rows["baseline"]})

    def which(is_so: Callable[[str], bool]) -> str:
        # An implementation's name follows that of its activation.
        return ", ".join(name for a, name in names.items() if is_so(a.partition(" ")[0]))

    wide = which(lambda activation: activations.input_channels(activation, 1) > 1)
    in_place = which(activations.writes_in_place)
    sentences = []
    if wide:
        sentences.append(
            f"{wide}: the channels shown are the output's, and the input has twice as many."
        )
    if in_place:
        sentences.append(f"{in_place} writes into an input of its own.")
        if "training" in set(rows["phase"]):
            sentences.append(
                "In training both it and what it is compared with begin with an operator that "
                "copies nothing, some 10 µs on a CPU."
            )
    return " ".join(sentences)
