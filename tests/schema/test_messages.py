"""What goes over the pipe is one line each way, and arrives as it was sent."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynact.schema.messages import Answer, Request, WorkerInfo
from tests.sweeping import CASES, MESSAGES, NETWORK_CASES, SITE_CASES, WORDS, case_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | MESSAGES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MESSAGES, inner, max_size=3),
    max_leaves=6,
)
FIGURES = st.dictionaries(WORDS, VALUES, max_size=4)
REQUESTS = st.builds(
    Request,
    verb=WORDS,
    case=st.one_of(st.none(), CASES, SITE_CASES, NETWORK_CASES),
    arguments=FIGURES,
)
ANSWERS = st.builds(
    Answer,
    status=WORDS,
    message=MESSAGES,
    figures=FIGURES,
)


class TestRequest:
    @given(REQUESTS)
    def test_it_arrives_as_it_was_sent(self, request_: Request) -> None:
        arrived = Request.from_json(request_.to_json())

        assert arrived == request_
        # Equal fields do not make a site a layer of the sweep.
        assert type(arrived.case) is type(request_.case)

    @given(REQUESTS)
    def test_it_is_one_line_of_json(self, request_: Request) -> None:
        line = request_.to_json()

        assert b"\n" not in line
        assert b"\r" not in line
        json.loads(line)

    def test_one_of_nothing_but_a_verb(self) -> None:
        assert Request.from_json(Request("limits").to_json()) == Request("limits", None, {})

    def test_arguments_are_not_shared(self) -> None:
        assert Request("limits").arguments is not Request("limits").arguments


class TestAnswer:
    @given(ANSWERS)
    def test_it_arrives_as_it_was_sent(self, answer: Answer) -> None:
        assert Answer.from_json(answer.to_json()) == answer

    @given(ANSWERS)
    def test_it_is_one_line_of_json(self, answer: Answer) -> None:
        line = answer.to_json()

        assert b"\n" not in line
        assert b"\r" not in line
        json.loads(line)

    def test_one_of_nothing_says_that_all_is_well(self) -> None:
        answer = Answer.from_json(Answer().to_json())

        assert (answer.status, answer.message, answer.figures) == ("ok", "", {})


class TestWorkerInfo:
    @pytest.mark.parametrize("environment", [{}, {"device": {"type": "cpu"}, "threads": 1}])
    def test_it_travels_as_the_figures_of_an_answer(self, environment: dict[str, Any]) -> None:
        info = WorkerInfo("cuda:1", True, 2**40, environment)

        greeting = Answer.from_json(Answer(figures=asdict(info)).to_json())

        assert WorkerInfo(**greeting.figures) == info


def test_a_case_is_sent_as_values_of_json() -> None:
    verb, case, arguments = json.loads(
        Request("visit", case_of("frelu"), {"seconds": 0.5}).to_json()
    )

    assert verb == "visit"
    assert (case["table"], case["activation"], case["channels"]) == ("rows.jsonl", "frelu", 8)
    assert arguments == {"seconds": 0.5}
