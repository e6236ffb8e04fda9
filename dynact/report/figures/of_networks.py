"""The figures of networks by name. A new one is a function and a line in ``NETWORK_FIGURES``."""

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from dynact.report.figures.network_heatmap import network_heatmap
from dynact.report.figures.network_sites import network_sites
from dynact.report.figures.tradeoff import tradeoff

NETWORK_FIGURES: dict[str, Callable[[pd.DataFrame, pd.DataFrame, str], Figure]] = {
    "network_heatmap": network_heatmap,
    "network_sites": network_sites,
    "tradeoff": tradeoff,
}
"""Each takes the network rows, the rows of their sites and a caption."""
