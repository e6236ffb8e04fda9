"""The points of trainings as a table."""

from dataclasses import fields
from pathlib import Path

import pandas as pd

from dynact.schema.learning import Point, ended_points

COLUMNS = tuple(field.name for field in fields(Point))


def load_points(folder: Path) -> pd.DataFrame:
    """Return the points of all ended trainings, one line each, with the columns `COLUMNS`.

    A training that was cut short is not among them, and of one that was begun anew only the last
    attempt is.
    """
    return pd.DataFrame(ended_points(folder), columns=list(COLUMNS))
