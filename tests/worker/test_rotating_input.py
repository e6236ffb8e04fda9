"""An input that moves stays the same input."""

import pytest
import torch

from dynact.worker import rotating_input as placement
from dynact.worker.rotating_input import RotatingInput


def test_every_place_holds_the_same_values_in_the_same_layout() -> None:
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    moving = RotatingInput(x)
    places = set()
    for turn in range(2 * placement.MOST_PLACES):
        moving.rotate(turn)
        places.add(moving.current.data_ptr())
        assert torch.equal(moving.current, x)
        assert moving.current.stride() == x.stride()
        assert moving.current.requires_grad
        assert moving.current.is_leaf
    assert len(places) == placement.MOST_PLACES


def test_each_place_meets_both_orders_of_the_sides() -> None:
    moving = RotatingInput(torch.randn(8))
    met = set()
    for turn in range(2 * placement.MOST_PLACES):
        moving.rotate(turn)
        met.add((moving.current.data_ptr(), turn % 2))
    assert len(met) == 2 * placement.MOST_PLACES


@pytest.mark.parametrize(
    ("limit", "places"), [(0, 1), (32, 1), (64, 1), (96, 3), (128, 3), (10_000, 7)]
)
def test_copies_stay_within_the_limit(
    monkeypatch: pytest.MonkeyPatch, limit: int, places: int
) -> None:
    monkeypatch.setattr(placement, "MOST_BYTES", limit)
    moving = RotatingInput(torch.randn(8))
    seen = set()
    for turn in range(20):
        moving.rotate(turn)
        seen.add(moving.current.data_ptr())
    assert len(seen) == places


def test_outputs_of_its_size_move_too() -> None:
    moving = RotatingInput(torch.randn(256, 1024))
    places = set()
    for turn in range(placement.MOST_PLACES):
        moving.rotate(turn)
        places.add(torch.relu(moving.current).data_ptr())
    assert len(places) > 1


@pytest.mark.parametrize(("limit", "places"), [(64, 1), (128, 3), (10_000, 7)])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_its_memory_is_that_of_all_places_and_as_many_spares_but_one(
    monkeypatch: pytest.MonkeyPatch, limit: int, places: int, with_gradient: bool
) -> None:
    monkeypatch.setattr(placement, "MOST_BYTES", limit)
    moving = RotatingInput(torch.randn(8), torch.randn(8) if with_gradient else None)

    # Of 32 bytes each; where outputs lie changes, how many places they have does not.
    expected = 32 * (places + places - 1 + with_gradient)
    assert moving.kept_bytes == expected
    for turn in range(20):
        moving.rotate(turn)
        assert moving.kept_bytes == expected


def test_spares_are_of_the_outputs_size() -> None:
    moving = RotatingInput(torch.randn(2, 6), output_shape=(2, 3))

    assert moving.kept_bytes == placement.MOST_PLACES * 48 + (placement.MOST_PLACES - 1) * 24
    moving.rotate(1)
    assert moving.kept_bytes == placement.MOST_PLACES * 48 + (placement.MOST_PLACES - 1) * 24


def test_the_gradient_stays_where_it_is() -> None:
    gradient = torch.randn(8)
    moving = RotatingInput(torch.randn(8), gradient)

    for turn in range(placement.MOST_PLACES):
        moving.rotate(turn)
        assert moving.gradient is gradient
