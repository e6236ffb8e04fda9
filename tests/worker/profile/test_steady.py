"""Which steps of a made-up trace speak for all."""

from collections import Counter

import pytest

from dynact.worker.profile.steady import Steady, Stretch, steady_steps

LAYER, LOGGING = Counter({"mul": 3, "max": 1}), Counter({"mul": 3, "max": 1, "item": 1})


def steps(*times: int | tuple[int, int]) -> list[Stretch]:
    """Steps by their wall time, and device time where that is another."""
    pairs = [time if isinstance(time, tuple) else (time, time) for time in times]
    return [Stretch(wall_ns, device_ns, LAYER) for wall_ns, device_ns in pairs]


@pytest.mark.parametrize(
    ("made", "taken", "shown", "disturbed"),
    [
        (steps(90, 90, 90, 90, 10, 13, 12, 11), [4, 5, 6, 7], 7, 0),
        # Within a kernel, and between two.
        (steps(90, 90, 90, 90, 10, (120, 120), 12, (130, 11)), [4, 6], 4, 2),
        # Most of them.
        (steps(*[9] * 8, 70, 10, 60, 50, 11, 40, 30, 80), [9, 12], 9, 6),
        # As much as a step may vary, and a little more.
        (steps(10, 10, 10, 15), [2, 3], 2, 0),
        (steps(10, 10, 10, 16), [2], 2, 1),
        # Between whose kernels the device waits for its host in each.
        (steps((50, 10), (50, 10), (52, 11), (51, 12)), [2, 3], 3, 0),
        # Within a kernel, in the time in which its host had made it wait in the others.
        (steps((50, 10), (50, 10), (52, 11), (51, 17)), [2], 2, 1),
        # At a loop's end nothing ran.
        (steps(10, 10, 11, 12, (3, 0)), [2, 3], 2, 0),
        (steps((3, 0)), [0], 0, 0),
        (steps(10), [0], 0, 0),
    ],
)
def test_a_step_that_took_much_longer_than_its_like_is_left_out(
    made: list[Stretch], taken: list[int], shown: int, disturbed: int
) -> None:
    assert steady_steps(made) == Steady(taken, shown, disturbed)


def test_steps_that_did_other_work_have_no_part_in_the_medians() -> None:
    made = [one._replace(work=LOGGING if number % 3 else LAYER) for number, one in enumerate(
        steps(10, 10, 10, 10, 10, 10, 10, 20, 21, 10, 22, 23)
    )]  # fmt: skip
    # Of 6 to 11 the 7th, 8th, 10th and 11th log.
    assert steady_steps(made) == Steady([7, 8, 10, 11], 8, 0)


def test_of_steps_that_all_did_other_work_the_one_of_median_time_is_taken() -> None:
    """As of images of any size."""
    made = [
        one._replace(work=Counter({number: 1}))
        for number, one in enumerate(steps(*[9] * 5, 5, 8, 1, 90, 7))
    ]
    assert steady_steps(made) == Steady([9], 9, 0)
