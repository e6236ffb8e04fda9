"""What the cases of a comparison are brought together by: an activation, or one in a network."""

import pandas as pd

from dynact.report.data.names import display_names
from dynact.report.data.network_frames import network_name, where_placed


def subjects(cases: pd.DataFrame) -> "pd.Series[str]":
    """Return what each case is of, in words; those of equal words share a line or a mark.

    Parameters
    ----------
    cases
        Of one table of a `Comparison`.
    """
    names = cases["activation"].map(display_names(cases["activation"]))
    if "network" not in cases:
        return names
    return cases["network"].map(network_name) + ", " + names + where_placed(cases)


def subjects_in_order(cases: pd.DataFrame) -> list[str]:
    """Return each of the `subjects` once, in the registry's order within its network."""
    order = list(display_names(cases["activation"]))
    places = cases.assign(
        subject=subjects(cases), place=cases["activation"].map(order.index).to_numpy()
    )
    by = [name for name in ("network", "place", "subject") if name in places]
    return list(places.sort_values(by)["subject"].unique())
