"""A word that is known, or one line that helps to find it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.choice import choice

COLOURS = ("green", "red", "dark_red", "blue")


@pytest.mark.parametrize("word", COLOURS)
def test_a_known_word_is_returned(word: str) -> None:
    assert choice("colour", word, COLOURS) == word


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("gren", "unknown colour 'gren'; did you mean green?"),
        ("GREEN", "unknown colour 'GREEN'; did you mean green?"),
        ("dark-red", "unknown colour 'dark-red'; did you mean dark_red?"),
        ("zzz", "unknown colour 'zzz'; choose from: green, red, dark_red, blue"),
        ("", "unknown colour ''; choose from: green, red, dark_red, blue"),
    ],
)
def test_an_unknown_word_is_answered_with_near_ones_or_with_all(word: str, line: str) -> None:
    with pytest.raises(ValueError, match=r"\A.*\Z") as caught:
        choice("colour", word, COLOURS)

    assert str(caught.value) == line


def test_a_dash_is_as_near_as_the_underscore_it_stands_for() -> None:
    # Of two letters each, so that one that differs would be too far.
    with pytest.raises(ValueError, match=r"did you mean b_\?$"):
        choice("size", "b-", ("s_", "b_"))


def test_several_near_words_are_alternatives() -> None:
    with pytest.raises(ValueError, match=r"did you mean (red1 or red2|red2 or red1)\?$"):
        choice("colour", "red3", ("red1", "red2", "blue"))


@given(st.text())
def test_whatever_is_typed_the_answer_is_one_line(word: str) -> None:
    with pytest.raises(ValueError, match=r"\Aunknown colour ") as caught:
        choice("colour", f"{word}!", COLOURS)

    assert len(str(caught.value).splitlines()) == 1
