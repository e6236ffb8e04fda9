"""How large a site's input is for each sample of the network, and how it lies in memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from dynact.networks.watch import Met


@dataclass(frozen=True)
class Extent:
    """What of a site's input is there beside its channels."""

    samples: int = 1
    """Of the site for each of the network's: more than 1 where windows, boxes or frames are folded
    into the batch; 0 where that is unknown."""
    grows: bool = True
    """Whether there are as many for each sample of a batch; else for the whole of it."""
    positions: tuple[int, ...] = ()
    """Of the dimensions beside those of samples and channels, in order."""
    memory_format: str = "contiguous"
    """``"channels_last"`` where the channels of a position lie side by side."""


# Of an input (N, C).
FLAT = Extent()


def extent_of(passes: Sequence[Met]) -> Extent:
    """Return the extent of a call that was met in one pass, or in two of different batches."""
    met = passes[0]
    every = range(len(met.shape))
    changed = [
        i for i in every if any(each.shape[i : i + 1] != met.shape[i : i + 1] for each in passes)
    ]
    grows = bool(changed) or len({each.batch for each in passes}) == 1
    of_samples = (changed or [0])[0]
    others = [i for i in every if i not in (of_samples, met.channel_dim)]
    samples = 1
    if of_samples in every and of_samples != met.channel_dim:
        samples = met.shape[of_samples]
    if grows:
        # Of a number that hangs on values, as that of boxes, none can be told.
        shapes = [_of_one(each, of_samples) for each in passes]
        is_known = None not in shapes and len(set(shapes)) == 1 and of_samples != met.channel_dim
        samples = samples // met.batch if is_known else 0
    positions = tuple(met.shape[i] for i in others)
    return Extent(samples, grows, positions, _memory_format(met, others))


def _of_one(met: Met, of_samples: int) -> tuple[int, ...] | None:
    """Return the shape by the sample, None where that is not a whole number."""
    if of_samples >= len(met.shape) or met.shape[of_samples] % met.batch:
        return None
    return tuple(n // met.batch if i == of_samples else n for i, n in enumerate(met.shape))


def _memory_format(met: Met, positions: list[int]) -> str:
    strides = [met.strides[i] for i in positions if met.shape[i] > 1]
    if met.channel_dim is None or met.channels == 1 or not strides:
        return "contiguous"
    return "channels_last" if met.strides[met.channel_dim] < min(strides) else "contiguous"
