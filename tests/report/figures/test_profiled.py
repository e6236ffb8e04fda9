"""What holds of every figure of profiled steps."""

import pytest

from dynact.report.data.profile import Profile
from dynact.report.figures.declaration import ProfileFigure
from dynact.report.figures.registry import figures_of
from tests.report.figures.reading import texts


@pytest.mark.parametrize("name", figures_of(ProfileFigure))
def test_without_a_training_step_a_figure_says_so(profile: Profile, name: str) -> None:
    inference_only = Profile(
        profile.steps[profile.steps["phase"] == "inference"],
        profile.kernels,
        profile.timeline,
        profile.memory,
    )

    figure = figures_of(ProfileFigure)[name].draw(inference_only, "")

    assert "no training step was traced" in texts(figure)
