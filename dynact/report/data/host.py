"""Where an accelerator waits for its host, so that a time is the host's and not the device's."""

import pandas as pd

from dynact.schema.visits import HOST_DECIDES_ABOVE
from dynact.timing import DeviceClock, EventClock

MARK = "§"
MARK_NOTE = f"{MARK}: the device waited for its host, whose time it is."


def host_decides(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Return of each row whether the host decided on the time of either side.

    It did nowhere on a device that is the host.
    """
    shares = rows[["host_share", "baseline_host_share"]].astype(float)
    return shares.max(axis="columns") > HOST_DECIDES_ABOVE


def host_marks(rows: pd.DataFrame) -> "pd.Series[str]":
    """Return what goes behind each row's overhead, explained by `MARK_NOTE`."""
    return host_decides(rows).map({True: MARK, False: ""})


def marked_means_note(rows: pd.DataFrame) -> str:
    """Return what the mark behind means over rows says, empty where no row has it."""
    said = f"{MARK}: at some of the shapes the device waited for its host, whose time it is there."
    return said if host_decides(rows).any() else ""


def which_time(rows: pd.DataFrame) -> str:
    """Return which of an accelerator's two times rows speak of, for below a figure.

    Parameters
    ----------
    rows
        Of one mode, or of networks; measured or not.

    Returns
    -------
    str
        Empty where host and device are one.
    """
    clocks = set(rows["clock"].dropna())
    if DeviceClock.name in clocks:
        return "Times: the device’s alone, without its host."
    if EventClock.name not in clocks:
        return ""
    eager = "mode" not in rows or (rows["mode"] == "eager").all()
    return f"Times: {'eager, ' if eager else ''}gaps between kernels included."


def whose_time(rows: pd.DataFrame) -> str:
    """Return of which time rows speak, in a sentence or two; empty where host and device are one.

    Parameters
    ----------
    rows
        Of layers or of networks, measured or not.
    """
    if (rows["clock"] == DeviceClock.name).any():
        return (
            "Times are the device’s alone: calls were queued before they began, so that nothing of "
            "the host is in them. Eager code that waits for its host takes longer."
        )
    told = rows[rows["host_share"].notna()]
    if told.empty:
        return ""
    decided = int(host_decides(told).sum())
    if not decided:
        return (
            f"Times are the device’s: in none of {len(told)} measured cases did it wait for its "
            "host."
        )
    both = bool(told["device_overhead"].notna().any())
    return (
        f"Times are of calls as the host makes them: in {decided} of {len(told)} measured cases, "
        f"marked {MARK}, the device waited for it, as queueing a call took more than "
        f"{HOST_DECIDES_ABOVE:.0%} of the call’s time on the one side or the other. Such a ratio "
        f"is of queueing{'; device_overhead, in the rows, is of the device alone' * both}."
    )
