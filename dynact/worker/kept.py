"""What is made once and kept between visits, within a memory limit."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

from dynact.worker.device import Device

# Of the memory that is free at first; the rest is for what a case needs while it is called.
SHARE = 1 / 8
# What is smaller is given up last: most layers have few parameters, and are long in the making.
SMALL_BYTES = 2**20


class Keepable(Protocol):
    """Something that takes memory."""

    @property
    def kept_bytes(self) -> int | None:
        """Return what is free once it is given up; ``None`` if it never is to be."""


T = TypeVar("T", bound=Keepable)


class Kept:
    """Keeps what was made; beyond the limit, gives up what was not asked for the longest.

    What is small outlasts what is large.
    """

    def __init__(self, most_bytes: float) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._sizes: dict[Hashable, int | None] = {}

    @classmethod
    def on(cls, device: Device) -> "Kept":
        """Return one with the limit of a device."""
        return cls(SHARE * device.free_bytes())

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept under a key, made now if there is nothing.

        Whatever ``make`` raises is passed on, and nothing is kept then.
        """
        if key not in self._kept:
            self._kept[key] = make()
        self._kept.move_to_end(key)
        value: T = self._kept[key]
        # Of what is asked for alone: to add up hundreds of networks' tensors takes a while.
        self._sizes[key] = value.kept_bytes
        self._make_room(key)
        return value

    def clear(self) -> None:
        """Give up all."""
        self._kept.clear()
        self._sizes.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def _make_room(self, newest: Hashable) -> None:
        total = sum(size or 0 for size in self._sizes.values())
        if total <= self._most_bytes:
            return
        for key in sorted(self._kept, key=lambda key: (self._sizes[key] or 0) < SMALL_BYTES):
            size = self._sizes[key]
            if total <= self._most_bytes:
                return
            if size is not None and key != newest:
                del self._kept[key], self._sizes[key]
                total -= size
