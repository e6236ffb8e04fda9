"""How many numbers a module holds."""

from dataclasses import dataclass

from torch import nn

from dynact.cost._fvcore import parameter_count

_NORMALISATION = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)


@dataclass(frozen=True)
class Parameters:
    """Elements of a module's parameters and buffers."""

    weights: int
    """Parameters of all but normalisation layers."""
    normalisation: int
    """Scales and shifts of normalisation layers, which papers leave out."""
    buffers: int
    """Running statistics and constants."""

    @property
    def learnable(self) -> int:
        """All parameters."""
        return self.weights + self.normalisation


def count_parameters(module: nn.Module) -> Parameters:
    """Count a module's parameters and buffers; what is shared counts once, what is frozen too.

    Normalisation layers are torch.nn's and what derives from them.
    """
    # Its own: it may hold an activation or another normalisation.
    of_normalisation = {
        parameter
        for layer in module.modules()
        if isinstance(layer, _NORMALISATION)
        for parameter in layer.parameters(recurse=False)
    }
    normalisation = sum(parameter.numel() for parameter in of_normalisation)
    return Parameters(
        weights=parameter_count(module).get("", 0) - normalisation,
        normalisation=normalisation,
        buffers=sum(buffer.numel() for buffer in module.buffers()),
    )
