"""What to measure: a layer at a shape, or a network with an activation in it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar

from dynact.schema.choice import choice
from dynact.schema.columns import described
from dynact.schema.placement import known_placement

PHASES = ("inference", "training")
MODES = ("eager", "compile", "graph")
DTYPES = ("float32", "float16", "bfloat16", "float64")
MEMORY_FORMATS = ("contiguous", "channels_last")
BYTES_PER_ELEMENT = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}

# What layers and networks are measured by alike.
_ACTIVATION = described(
    "activation",
    "",
    "A name that `--activations` takes, or `pkg.mod:Class` for a layer of one's own.",
)
_IMPL = described(
    "impl",
    "",
    "The implementation: `reference` is the plain form, `lines` that of elementwise lines, `fused` "
    "one compiled graph.",
)
_PHASE = described(
    "phase",
    "",
    "Either `inference` (eval, inference mode) or `training` (train mode, forward and backward).",
)
_DTYPE = described("dtype", "", f"Of input and parameters: {', '.join(DTYPES)}.")
_BATCH = described("batch", "count", "Samples in the input.")
_DEVICE = described("device", "", "Where it ran, as torch names it.")


@dataclass(frozen=True)
class Case:
    """One measurement: an activation and all that its cost depends on. Nothing but values."""

    table: ClassVar[str] = "rows.jsonl"
    """The file of a run folder that its row goes to."""

    activation: str = field(metadata=_ACTIVATION)
    impl: str = field(metadata=_IMPL)
    phase: str = field(metadata=_PHASE)
    mode: str = field(
        metadata=described(
            "mode",
            "",
            "How it is run: `eager`, `compile` (torch.compile) or `graph` (eager kernels, captured "
            "and replayed as a graph of the accelerator's).",
        )
    )
    dtype: str = field(metadata=_DTYPE)
    memory_format: str = field(
        metadata=described("memory format", "", "Of the input: `contiguous` or `channels_last`.")
    )
    batch: int = field(metadata=_BATCH)
    channels: int = field(
        metadata=described(
            "channels",
            "count",
            "Channels of the output and the input; the input of `swiglu` and `geglu` has twice as "
            "many.",
        )
    )
    height: int = field(
        metadata=described(
            "height",
            "count",
            "Positions from top to bottom; of the layer for a network’s site see `sites`.",
        )
    )
    width: int = field(metadata=described("width", "count", "Positions from left to right."))
    device: str = field(metadata=_DEVICE)
    baseline: str = field(
        metadata=described(
            "baseline", "", "The activation it is compared with, under the same conditions."
        )
    )

    def __post_init__(self) -> None:
        _check(
            self,
            {"phase": PHASES, "mode": MODES, "dtype": DTYPES, "memory_format": MEMORY_FORMATS},
            ("batch", "channels", "height", "width"),
        )

    @property
    def id(self) -> str:
        """A readable name, equal only for equal cases; what differs from the usual comes last."""
        shape = f"{self.batch}x{self.channels}x{self.height}x{self.width}"
        unusual = [
            value
            for value, usual in (
                (self.mode, "eager"),
                (self.memory_format, "contiguous"),
                (f"impl_{self.impl}", "impl_reference"),
                (f"vs_{self.baseline}", "vs_relu"),
            )
            if value != usual
        ]
        return "-".join([self.activation, self.phase, shape, self.dtype, self.device, *unusual])

    @property
    def input_bytes(self) -> int:
        """Bytes of the output, and of an input of as many channels."""
        elements = self.batch * self.channels * self.height * self.width
        return elements * BYTES_PER_ELEMENT[self.dtype]


@dataclass(frozen=True)
class SiteCase(Case):
    """A layer at a shape that a measured network has, against the one it replaces there."""

    table: ClassVar[str] = "site_rows.jsonl"


@dataclass(frozen=True)
class KnownPair(Case):
    """A layer against itself, or on a known few pixels more: what comes out is known before."""

    table: ClassVar[str] = "known_rows.jsonl"

    more_rows: int = field(
        default=0,
        metadata=described(
            "more rows", "pixels", "By how many the target's input is higher than the baseline's."
        ),
    )

    warm_baseline: bool = field(
        default=False,
        metadata=described(
            "warm baseline",
            "",
            "Whether, in a cold run, the baseline finds its input in the caches and the target "
            "does not.",
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.more_rows < 0:
            raise ValueError(f"more_rows must be at least 0, got {self.more_rows}")

    @property
    def id(self) -> str:
        """A readable name, equal only for equal cases."""
        return f"{super().id}-more_{self.more_rows}{'-over_warm' * self.warm_baseline}"

    @property
    def more(self) -> float:
        """How many elements more the target has, as a share of the baseline's."""
        return self.more_rows / self.height

    @property
    def tells_coldness(self) -> bool:
        """Whether it tells if caches are cold; the others tell which differences can be told."""
        return self.warm_baseline or self.more > 1


def target_case(case: Case) -> Case:
    """Return the case whose input the target gets: the baseline gets that of the case itself."""
    if isinstance(case, KnownPair):
        return replace(case, height=case.height + case.more_rows, more_rows=0)
    return case


@dataclass(frozen=True)
class NetworkCase:
    """One measurement: a network in which an activation takes the place of its own."""

    table: ClassVar[str] = "network_rows.jsonl"

    network: str = field(
        metadata=described(
            "network",
            "",
            "A name that `--networks` takes, or `pkg.mod:factory` for a network of one's own.",
        )
    )
    activation: str = field(metadata=_ACTIVATION)
    placement: str = field(
        metadata=described(
            "placement",
            "",
            "Where in the network: `all`, at every activation; `paper` or `official`, where the "
            "activation's paper, or the code published with it, puts it; `sites:1-3+7`, at the "
            "calls of these numbers, from 1, among all that the network makes of activations.",
        )
    )
    phase: str = field(metadata=_PHASE)
    dtype: str = field(metadata=_DTYPE)
    batch: int = field(metadata=_BATCH)
    image_size: int = field(
        metadata=described(
            "image size", "pixels", "Height and width of the images; 0 where `sample` says it."
        )
    )
    device: str = field(metadata=_DEVICE)
    impl: str = field(default="reference", metadata=_IMPL)
    sample: str = field(
        default="",
        metadata=described(
            "sample",
            "",
            "What a sample is where it is no square image of three channels: its sizes, as in "
            "`3x480x640`, or `pkg.mod:function`, which makes a batch.",
        ),
    )
    loss: str = field(
        default="",
        metadata=described(
            "loss",
            "",
            "Of a training step: `pkg.mod:function` where it is the user's own, else empty.",
        ),
    )
    replaced: str = field(
        default="",
        metadata=described(
            "replaced",
            "",
            "Which of the network's own activations are, `+` between several; empty where that is "
            "all that are no gates.",
        ),
    )

    def __post_init__(self) -> None:
        _check(
            self,
            {"phase": PHASES, "dtype": DTYPES},
            ("batch",) if self.sample else ("batch", "image_size"),
        )
        if known_placement(self.placement) != self.placement:
            raise ValueError(
                f"placement is written {known_placement(self.placement)}, got {self.placement}"
            )
        if self.sample and self.image_size:
            raise ValueError(f"image_size is 0 where sample says it, got {self.image_size}")

    @property
    def taken(self) -> str:
        """What a sample is: its sizes, or the user's function that makes a batch."""
        return self.sample or f"3x{self.image_size}x{self.image_size}"

    @property
    def id(self) -> str:
        """A readable name, equal only for equal cases; what differs from the usual comes last."""
        shape = f"{self.batch}x{self.taken}"
        parts = [self.network, self.activation, self.phase, shape, self.dtype, self.device]
        # Or it would be called as the case whose image size says the same.
        sampled = "sampled" if re.fullmatch(r"3x(\d+)x\1", self.sample) else ""
        unusual = [
            value
            for value, usual in (
                (self.placement, "all"),
                (f"impl_{self.impl}", "impl_reference"),
                (f"loss_{self.loss}", "loss_"),
                (f"for_{self.replaced}", "for_"),
                (sampled, ""),
            )
            if value != usual
        ]
        return "-".join([*parts, *unusual])


def sample_shape(text: str) -> tuple[int, ...]:
    """Return the sizes of a sample, of ``"3x480x640"``, the channels first, or of ``"128"``.

    Raises
    ------
    ValueError
        If it is not that: one line.
    """
    if not re.fullmatch(r"[1-9][0-9]{0,8}(x[1-9][0-9]{0,8})*", text):
        raise ValueError(
            f"a sample's sizes are channels × height × width, as 3x480x640, or others, as 128, got "
            f"{text!r}"
        )
    return tuple(map(int, text.split("x")))


AnyCase = Case | NetworkCase
# In the order in which a sweep reports them: networks after what explains them.
CASE_TYPES: dict[str, type[Case] | type[NetworkCase]] = {
    kind.table: kind for kind in (KnownPair, Case, SiteCase, NetworkCase)
}
CASE_FIELDS = tuple(field.name for field in fields(Case))
NETWORK_FIELDS = tuple(field.name for field in fields(NetworkCase))


def case_record(case: AnyCase) -> dict[str, Any]:
    """Return a case as plain values that `case_of_record` makes it of again."""
    return {"table": case.table, **asdict(case)}


def case_of_record(record: Mapping[str, Any]) -> AnyCase:
    """Return the case of a `case_record`."""
    values = dict(record)
    return CASE_TYPES[values.pop("table")](**values)


def _check(case: AnyCase, words: Mapping[str, tuple[str, ...]], sizes: tuple[str, ...]) -> None:
    for kind, known in words.items():
        choice(kind, getattr(case, kind), known)
    for size in sizes:
        if getattr(case, size) < 1:
            raise ValueError(f"{size} must be at least 1, got {getattr(case, size)}")
