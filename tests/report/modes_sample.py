"""Made-up rows of two modes."""

import pandas as pd

# As often its eager time ReLU's compiled training step takes.
SLOWDOWN = 20.0


def with_compiled(rows: pd.DataFrame) -> pd.DataFrame:
    """Return eager rows and the same compiled, where the baseline alone is slower in training."""
    compiled = rows.assign(mode="compile", case_id=rows["case_id"] + "-compile")
    training = compiled["phase"] == "training"
    compiled.loc[training, "baseline_time_ns"] *= SLOWDOWN
    compiled.loc[training, ["overhead", "overhead_lo", "overhead_hi"]] /= SLOWDOWN
    return pd.concat([rows, compiled], ignore_index=True)
