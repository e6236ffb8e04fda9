"""Networks with another activation, and the layers that explain what they take."""

from typing import Any

import pytest

from dynact.schema.cases import NetworkCase, SiteCase
from dynact.sweep.replay import Replay
from dynact.sweep.session import Sweep

replay = Replay()


@pytest.mark.benchmark(timer=replay.read)
def bench_site(site_case: SiteCase, sweep: Sweep, benchmark: Any) -> None:
    """Report an activation against the one it replaces, at a shape that a network has."""
    replay.report(benchmark, *sweep.found(site_case))


@pytest.mark.benchmark(timer=replay.read)
def bench_network(network_case: NetworkCase, sweep: Sweep, benchmark: Any) -> None:
    """Report a network with another activation against the network as it is."""
    replay.report(benchmark, *sweep.found(network_case))
