"""Rows of two networks in situations of which some are to be told, and no other."""

from collections.abc import Callable

import pandas as pd

from dynact.report.run import Run
from tests.report.conftest import lacking_rows
from tests.report.networks_sample import build_networks, fail_networks
from tests.report.sample_run import run_of

Tables = tuple[pd.DataFrame, pd.DataFrame]
Situation = Callable[[pd.DataFrame, pd.DataFrame], Tables]
KEPT = {
    "name": "fc.1", "original": "relu", "channels": 120, "height": None, "width": None,
    "reason": "it is flat",
}  # fmt: skip


def once(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows as load gives them after the first pass of a sweep."""
    return rows.assign(
        visits=1, observations=1, overhead_lo=None, overhead_hi=None, converged=False
    )


def run_in(situation: Situation) -> Run:
    """Return a run of two networks that is in a situation."""
    rows = build_networks(("mobilenet_v2", "resnet18"), ("dyrelu_b", "frelu"), ("training",))
    networks, sites = situation(*rows)
    return run_of(networks=networks, sites=sites)


def plain(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return networks, sites


def wide(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    low, high = networks["overhead"] / 2, networks["overhead"] * 2
    return networks.assign(overhead_lo=low, overhead_hi=high), sites


def visited_once(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return once(networks), sites


def sites_visited_once(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return networks, once(sites)


def unsteady(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return networks.assign(speed_drift=1.3), sites


def of_peaks(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return networks.assign(memory_per_image_bytes=None), sites


def failed(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return fail_networks(networks, [len(networks) - 1]), sites


def one_lost(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return fail_networks(networks, list(networks.index[networks["network"] == "resnet18"])), sites


def not_measured(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return networks.iloc[:-1], sites


def in_inference(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return networks.assign(phase="inference"), sites.assign(phase="inference")


def placed(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return networks.assign(placement="paper"), sites


def placed_officially(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return networks.assign(placement="official"), sites


def without_a_layer(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return networks, sites[sites["channels"] != 64]


def lacking(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return lacking_rows(networks, frelu=["aten::fft"]), sites


def small(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return networks.assign(image_size=48), sites


def kept(networks: pd.DataFrame, sites: pd.DataFrame) -> Tables:
    return networks.assign(kept_sites=[[KEPT]] * len(networks)), sites


SITUATIONS: tuple[Situation, ...] = (
    plain, wide, visited_once, sites_visited_once, unsteady, of_peaks, failed, one_lost,
    not_measured, in_inference, placed, placed_officially, without_a_layer, lacking, small, kept,
)  # fmt: skip
