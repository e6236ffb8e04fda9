"""Which networks to measure: a case, and the presets."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import product

from dynact.schema.cases import BYTES_PER_ELEMENT, DTYPES, PHASES, PRESETS, choice

PLACEMENTS = ("all", "paper", "official")


@dataclass(frozen=True)
class NetworkCase:
    """One measurement: a network in which an activation takes the place of its own."""

    network: str
    activation: str
    """A name of the registry, or ``"pkg.mod:Class"`` for a user's own layer."""
    placement: str
    """``"all"``: at every activation; ``"paper"`` and ``"official"``: where the activation's paper,
    or the code published with it, puts it."""
    phase: str
    """``"inference"`` (eval, inference mode) or ``"training"`` (train, forward and backward)."""
    dtype: str
    batch: int
    image_size: int
    """Height and width of the images in pixels."""
    device: str

    def __post_init__(self) -> None:
        for kind, known in (("placement", PLACEMENTS), ("phase", PHASES), ("dtype", DTYPES)):
            choice(kind, getattr(self, kind), known)
        for size in ("batch", "image_size"):
            if getattr(self, size) < 1:
                raise ValueError(f"{size} must be at least 1, got {getattr(self, size)}")

    @property
    def id(self) -> str:
        """A readable name, equal only for equal cases; what differs from the usual comes last."""
        shape = f"{self.batch}x3x{self.image_size}x{self.image_size}"
        parts = [self.network, self.activation, self.phase, shape, self.dtype, self.device]
        return "-".join([*parts, *([self.placement] if self.placement != "all" else [])])

    @property
    def input_bytes(self) -> int:
        """Bytes of the images."""
        return self.batch * 3 * self.image_size**2 * BYTES_PER_ELEMENT[self.dtype]


NETWORK_FIELDS = tuple(field.name for field in fields(NetworkCase))


@dataclass(frozen=True)
class NetworkGrid:
    """The network cases of all combinations of its axes."""

    networks: tuple[str, ...]
    activations: tuple[str, ...] = ("frelu", "dyrelu_b")
    placements: tuple[str, ...] = ("all",)
    phases: tuple[str, ...] = PHASES
    dtypes: tuple[str, ...] = ("float32",)
    batches: tuple[int, ...] = (2,)
    image_size: int = 48
    """A network whose own size is smaller gets that."""

    def cases(self, own_size: dict[str, int], device: str) -> Iterator[NetworkCase]:
        """Yield the cases, a network's together.

        Parameters
        ----------
        own_size
            The image size that each network is made for.
        """
        axes = (
            self.networks, self.dtypes, self.batches, self.placements, self.activations,
            self.phases,
        )  # fmt: skip
        for network, dtype, batch, placement, activation, phase in product(*axes):
            size = min(self.image_size, own_size[network])
            yield NetworkCase(network, activation, placement, phase, dtype, batch, size, device)


def network_preset(name: str, on_accelerator: bool) -> NetworkGrid:
    """Return the networks of a preset: small ones at a reduced size where it has to be quick.

    Raises
    ------
    ValueError
        If the preset is unknown.
    """
    choice("preset", name, PRESETS)
    if name == "smoke":
        return NetworkGrid(("lenet",))
    networks = (
        ("lenet", "mobilenet_v2", "resnet18")
        if name == "quick"
        else ("mobilenet_v2", "resnet18", "resnet50")
    )
    if on_accelerator:
        return NetworkGrid(networks, batches=(32,), image_size=224)
    return NetworkGrid(networks, image_size=48 if name == "quick" else 224)
