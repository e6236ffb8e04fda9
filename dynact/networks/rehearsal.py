"""A look at whether new layers are called where the originals were."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from torch import Tensor, nn

from dynact.networks.passes import Example, copied, doubled, run_pass
from dynact.networks.sites import Call, Site


class _StandIn(nn.Module):
    """Stands for a new layer, and notes what it is called with."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site
        self.met: list[tuple[Site, tuple[int, ...]]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.met.append((self._site, tuple(x.shape[1:])))
        return x.clone()


def rehearse(
    model: nn.Module, calls: list[Call], made: Mapping[Site, nn.Module], example_input: Example
) -> None:
    """Run a network with stand-ins for its new layers.

    Raises
    ------
    ValueError
        If one is not called once, or with an input of another shape than its site's: as where a
        hook calls activations, which is done outside of what the block's own code is taken for.
    """
    sites = {layer: site for site, layer in made.items()}
    rehearsed = copied(model)
    stand_ins = {layer: _StandIn(site) for layer, site in sites.items()}
    for path, module in model.named_modules(remove_duplicate=False):
        if module in stand_ins:
            rehearsed.set_submodule(path, stand_ins[module])

    @contextmanager
    def watching(network: nn.Module) -> Iterator[list[tuple[Site, tuple[int, ...]]]]:
        yield (met := [])
        for module in network.modules():
            if isinstance(module, _StandIn):
                met += module.met

    try:
        met = run_pass(rehearsed, example_input, False, watching)
    except ValueError as error:
        raise ValueError(f"with others in its activations' places {error}") from error
    called = {site for site, _ in met}
    if called != made.keys():
        with suppress(ValueError):
            in_training = run_pass(rehearsed, doubled(example_input), True, watching)
            met += [each for each in in_training if each[0] not in called]
    times = Counter(site for site, _ in met)
    shapes = dict(met)
    for call in calls:
        if call.site in made and (times[call.site], shapes.get(call.site)) != (1, call.shape[1:]):
            raise ValueError(
                f"{call.site.name}: a layer in its place is called {times[call.site]} times in a "
                f"pass of the example, with {shapes.get(call.site)} a sample where the original "
                f"has {call.shape[1:]}; leave it out by `where`"
            )
