"""The shapes of what goes into a case's layer and of what comes out."""

from dynact import activations
from dynact.schema.cases import Case

Shape = tuple[int, int, int, int]


def input_shape(case: Case) -> Shape:
    """Return the shape of the input of a case's activation."""
    channels = activations.input_channels(case.activation, case.channels)
    return case.batch, channels, case.height, case.width


def output_shape(case: Case) -> Shape:
    """Return the shape of its output, and of the gradient that a training step starts from."""
    return case.batch, case.channels, case.height, case.width
