"""Network rows made ready for figures and tables: how they read, what they share, their memory."""

import math

import pandas as pd

from dynact.networks import architectures
from dynact.report.data.host import MARK, MARK_NOTE, host_marks
from dynact.report.data.names import display_name, display_names, resolution
from dynact.schema.digits import NO_FIGURE
from dynact.schema.placement import SITES, numbers_placed
from dynact.timing import is_steady
from dynact.timing.paired import STEADY_WITHIN

PAPER_NOTE = (
    "(paper), (official): only where the activation's paper, or the code published with it, puts "
    "it; otherwise at every activation."
)

_BY_PAPER = r"\b(?:paper|official)\)$"
_UNITS = (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0))
_UNSTEADY = "‡"

_SETTINGS = ("batch", "dtype", "images", "loss", "device")


def network_name(network: str) -> str:
    """Return the paper's spelling of a network, or the name itself."""
    return (
        architectures.architecture(network).title if network in architectures.names() else network
    )


def labelled(networks: pd.DataFrame) -> pd.DataFrame:
    """Return network rows with the columns ``subject``, ``variant`` and ``mark``.

    ``subject`` is the network, with what differs between its rows (``ResNet-18, batch 32``);
    ``variant`` is the activation, with where it is placed where that is not everywhere. Subject,
    variant and phase tell any two lines apart; of repeated ones the last stays. ``mark`` goes
    behind an overhead that is not to be taken at its word, and is explained by `mark_note`.
    """
    settings = networks.assign(images=_images(networks))
    varying = {
        field: settings.groupby("network")[field].transform("nunique") > 1 for field in _SETTINGS
    }
    subjects = networks["network"].map(network_name)
    for field, differs in varying.items():
        subjects = subjects.mask(
            differs, subjects + ", " + settings[field].map(lambda v, f=field: _read(f, v))
        )
    names = networks["activation"].map(display_names(networks["activation"]))
    variants = names + where_placed(networks)
    rows = networks.assign(subject=subjects, variant=variants, mark=_marks(networks))
    return rows.drop_duplicates(["subject", "variant", "phase"], keep="last")


def where_placed(networks: pd.DataFrame) -> "pd.Series[str]":
    """Return where each row has its activation, as ``" (for SiLU, paper)"``; of everywhere ``""``.

    Sites that are named by their numbers are counted, ``" (24 sites)"``, where no other row has as
    many other ones.

    Parameters
    ----------
    networks
        With the fields of network cases.
    """
    placements = networks["placement"].map(_placement)
    alike = [networks[field] for field in ("network", "activation", "replaced")]
    ambiguous = networks["placement"].groupby([*alike, placements]).transform("nunique") > 1
    placements = placements.mask(ambiguous, networks["placement"].str.replace(":", " "))
    words = [
        ", ".join(filter(None, [_for(replaced), placement]))
        for replaced, placement in zip(networks["replaced"], placements, strict=True)
    ]
    return pd.Series(words, networks.index, dtype=object).map(
        lambda said: f" ({said})" * bool(said)
    )


def setting(networks: pd.DataFrame) -> str:
    """Return in words what batch, dtype and image size the rows were measured at."""
    batches, dtypes = (sorted(networks[field].unique()) for field in ("batch", "dtype"))
    images = " and ".join(_images(networks.sort_values(["image_size", "sample"])).unique())
    return f"batch {' and '.join(map(str, batches))}, {' and '.join(dtypes)}, images of {images}"


def extra_with_range(extra_ns: float, low_ns: float, high_ns: float) -> str:
    """Return ``+4.9 ms (−9.8 to +37.0)``: one unit, and as many decimals, for all three.

    Without a range (NaN) the extra time stands alone. Where its range leaves it no digit it is no
    difference that was seen, if the range has both signs; else each of them has its own unit.
    """
    if math.isnan(extra_ns):
        return NO_FIGURE
    ends = extra_ns, low_ns, high_ns
    known = [end for end in ends if not math.isnan(end)]
    largest = max(map(abs, known))
    # 999.7 µs would read 1000 µs.
    unit, scale = next((u for u in _UNITS if largest >= 0.9995 * u[1]), _UNITS[-1])
    decimals = sum(largest < limit * scale for limit in (99.95, 9.995))
    is_hidden = extra_ns != 0 and round(extra_ns / scale, decimals) == 0
    if is_hidden and len(known) == 3 and not low_ns < 0 < high_ns:
        extra, low, high = (extra_with_range(end, math.nan, math.nan) for end in ends)
        return f"{extra} ({low} to {high})"

    def signed(duration_ns: float) -> str:
        # Adding 0 makes a positive one of what rounding leaves of −0.
        return f"{round(duration_ns / scale, decimals) + 0:+.{decimals}f}".replace("-", "−")

    if is_hidden and low_ns < 0 < high_ns:
        return f"no difference seen ({signed(low_ns)} to {signed(high_ns)} {unit})"
    extra = f"{signed(extra_ns)} {unit}"
    return extra if len(known) < 3 else f"{extra} ({signed(low_ns)} to {signed(high_ns)})"


def paper_note(variants: "pd.Series[str]") -> str:
    """Return what ``(paper)`` means, empty where no variant says it."""
    return PAPER_NOTE if variants.str.contains(_BY_PAPER).any() else ""


def mark_note(marks: "pd.Series[str]") -> str:
    """Return what the marks behind overheads mean, empty where there is none."""
    change = f"{100 * (STEADY_WITHIN - 1):.0f} %"
    notes = {
        _UNSTEADY: f"{_UNSTEADY}: the device became slower or faster by more than {change}.",
        MARK: MARK_NOTE,
    }
    return " ".join(note for mark, note in notes.items() if marks.str.contains(mark).any())


def counted_image_size(networks: pd.DataFrame) -> "pd.Series[float]":
    """Return the height and width of the image that each row's MACs and FLOPs are of."""
    # Rows without it are older: theirs were counted at the size that was timed.
    return pd.to_numeric(networks["counted_image_size"]).fillna(networks["image_size"])


def memory_ratios(networks: pd.DataFrame) -> pd.DataFrame:
    """Return how much memory each row needs as a multiple of the original network's.

    Returns
    -------
    DataFrame
        ``ratio``: of the bytes that one more image takes or, with ``of_peaks``, where those are
        not known, of the bytes allocated at once above parameters and input; NaN without either.
    """
    numbers = {
        column: pd.to_numeric(networks[column]).where(networks["status"] == "ok")
        for name in ("memory_per_image_bytes", "peak_bytes")
        for column in (name, f"baseline_{name}")
    }
    per_image, peak = (
        numbers[name] / numbers[f"baseline_{name}"].where(lambda b: b > 0)
        for name in ("memory_per_image_bytes", "peak_bytes")
    )
    return pd.DataFrame({"ratio": per_image.fillna(peak), "of_peaks": per_image.isna()})


def _for(replaced: str) -> str:
    names = " and ".join(display_name(name) for name in replaced.split("+"))
    return f"for {names}" if replaced else ""


def _placement(placement: str) -> str:
    if not placement.startswith(SITES):
        return "" if placement == "all" else placement
    count = len(numbers_placed(placement))
    return f"{count} site{'s' * (count > 1)}"


def _marks(networks: pd.DataFrame) -> "pd.Series[str]":
    ok = networks["status"] == "ok"
    drifts = pd.to_numeric(networks["speed_drift"])
    unsteady = ok & drifts.notna() & ~drifts.map(is_steady)
    return unsteady.map({True: _UNSTEADY, False: ""}) + host_marks(networks)


def _images(networks: pd.DataFrame) -> "pd.Series[str]":
    """Return what each row's network took: ``48²``, ``3×480×640``, or what makes its inputs."""
    sizes = networks["image_size"].map(lambda size: resolution(size, size))
    samples = networks["sample"].map(lambda text: text if ":" in text else text.replace("x", "×"))
    return sizes.where(samples == "", samples)


def _read(field: str, value: object) -> str:
    if field == "batch":
        return f"batch {value}"
    if field == "images":
        return f"images of {value}"
    if field == "loss":
        return f"loss {value or 'of dynact'}"
    return str(value)
