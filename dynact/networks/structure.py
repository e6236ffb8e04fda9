"""What a network is made of, in words: to tell whether one of the same name is still the same."""

from torch import nn
from torch.nn.parameter import is_lazy

from dynact.networks.passes import Example
from dynact.networks.sites import find_sites

# How the names of activations' calls begin.
ACTIVATION = "activation "


def structure_of(model: nn.Module, example_input: Example) -> dict[str, str]:
    """Return what a network's modules, parameters, buffers and calls of activations are.

    What else its code does with them is not seen.

    Parameters
    ----------
    model, example_input
        As of `sites.find_sites`.

    Returns
    -------
    dict
        A description by a name for each of them; the same each time for the same network.

    Raises
    ------
    ValueError
        As of `sites.find_sites`.
    """
    found = {}
    for path, module in model.named_modules():
        # What others say of theirs may hold addresses.
        said = module.extra_repr() if type(module).__module__.startswith("torch.nn.") else ""
        found[f"module {path}".strip()] = f"{type(module).__name__}({said})"
    for kind, tensors in (
        ("parameter", model.named_parameters()),
        ("buffer", model.named_buffers()),
    ):
        for name, tensor in tensors:
            shape = "lazy" if is_lazy(tensor) else "x".join(map(str, tensor.shape)) or "scalar"
            found[f"{kind} {name}"] = shape
    for site in find_sites(model, example_input):
        found[f"{ACTIVATION}{site.name}"] = f"{site.original} of {site.channels} channels"
    return found
