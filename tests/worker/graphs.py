"""What dynamo captures, noted, and run as it is: generating code for each would take minutes."""

from typing import Any

import torch
from torch import Tensor


class Graphs:
    """A backend of torch.compile, for layers without convolutions.

    Their input (batch, channels, height, width) alone has four dimensions.
    """

    def __init__(self) -> None:
        self.shapes: list[tuple[int | str, ...]] = []
        """Of the input of each graph, in the order captured; symbols where it takes several."""
        self.calls: list[int] = []
        """Of each graph."""
        self.places: set[int] = set()
        """Of the inputs that they were called on."""

    def __call__(self, graph: torch.fx.GraphModule, _inputs: list[Any]) -> Any:
        number = len(self.calls)
        self.calls.append(0)
        # As the graph was traced; the inputs themselves have sizes whether it asks for them or not.
        traced = [
            node.meta["example_value"] for node in graph.graph.nodes if node.op == "placeholder"
        ]
        [x] = _images(traced)
        self.shapes.append(tuple(size if isinstance(size, int) else str(size) for size in x.shape))

        def run(*values: Any) -> Any:
            self.calls[number] += 1
            self.places |= {x.data_ptr() for x in _images(values)}
            return graph.forward(*values)

        return run


def _images(values: Any) -> list[Tensor]:
    return [value for value in values if isinstance(value, Tensor) and value.ndim == 4]
