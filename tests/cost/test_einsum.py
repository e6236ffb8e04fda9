"""The arithmetic of an einsum against plain loops that also compute it."""

from collections import defaultdict
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dynact.cost._einsum import Einsum, einsum_arithmetic
from dynact.cost.flops import count_flops

SIZES = {"a": 2, "b": 3, "c": 1, "d": 4}
GENERATOR = torch.Generator().manual_seed(0)


class Loops:
    """An einsum of one or two operands in plain loops, which counts what it does."""

    def __init__(self, terms: list[str], output: str, operands: list[Tensor]) -> None:
        self.additions = self.products = self.multiply_accumulates = 0
        tables = [self.table(term, x) for term, x in zip(terms, operands, strict=True)]
        if len(tables) == 1:
            self.result = self.summed(*tables[0], output)[1]
            return
        (first, of_first), (second, of_second) = tables
        first, of_first = self.summed(first, of_first, second + output)
        second, of_second = self.summed(second, of_second, first + output)
        letters = "".join(dict.fromkeys(first + second))
        contracts = bool({*letters} - {*output})
        self.result: dict[tuple[int, ...], float] = defaultdict(float)
        for setting in product(*(range(SIZES[i]) for i in letters)):
            at = dict(zip(letters, setting, strict=True))
            value = of_first[self.key(first, at)] * of_second[self.key(second, at)]
            self.result[self.key(output, at)] += value
            if contracts:
                self.multiply_accumulates += 1
            else:
                self.products += 1

    @staticmethod
    def key(letters: str, at: dict[str, int]) -> tuple[int, ...]:
        return tuple(at[i] for i in letters)

    @staticmethod
    def table(term: str, x: Tensor) -> tuple[str, dict[tuple[int, ...], float]]:
        return term, {place: float(x[place]) for place in product(*map(range, x.shape))}

    def summed(
        self, letters: str, values: dict[tuple[int, ...], float], needed: str
    ) -> tuple[str, dict[tuple[int, ...], float]]:
        left = "".join(i for i in letters if i in needed)
        sums: dict[tuple[int, ...], float] = {}
        for place, value in values.items():
            at = self.key(left, dict(zip(letters, place, strict=True)))
            if at in sums:
                self.additions += 1
            sums[at] = sums.get(at, 0.0) + value
        return left, sums


@st.composite
def equations(draw: st.DrawFn) -> tuple[list[str], str]:
    term = st.lists(st.sampled_from("abcd"), unique=True, max_size=4).map("".join)
    terms = draw(st.lists(term, min_size=1, max_size=2))
    letters = sorted(set("".join(terms)))
    output = draw(st.lists(st.sampled_from(letters), unique=True)) if letters else []
    return terms, "".join(output)


@given(equations())
@settings(max_examples=150, deadline=None)
def test_as_plain_loops_count(equation: tuple[list[str], str]) -> None:
    terms, output = equation
    operands = [torch.randn([SIZES[i] for i in term], generator=GENERATOR) for term in terms]
    written = f"{','.join(terms)}->{output}"
    loops = Loops(terms, output, operands)
    expected = torch.einsum(written, *operands)
    # A single operand's letters keep its order in the loops.
    letters = output if len(terms) == 2 else "".join(i for i in terms[0] if i in output)
    for place, value in loops.result.items():
        at = dict(zip(letters, place, strict=True))
        assert value == pytest.approx(float(expected[Loops.key(output, at)]), abs=1e-4)

    counted = einsum_arithmetic(written, [x.shape for x in operands])

    assert counted == Einsum(loops.multiply_accumulates, loops.products + loops.additions)


@pytest.mark.parametrize(
    ("equation", "like", "shapes"),
    [
        ("...ij,...jk->...ik", "abij,abjk->abik", [(2, 3, 4, 5), (2, 3, 5, 6)]),
        ("...ij,jk", "aij,jk->aik", [(2, 4, 5), (5, 6)]),
        ("i...,...i->...", "iab,abi->ab", [(2, 3, 4), (3, 4, 2)]),
        ("...i->i", "abi->i", [(2, 3, 4)]),
        ("ij,jk", "ij,jk->ik", [(2, 3), (3, 4)]),
        ("n c h w, n c -> n c h w", "nchw,nc->nchw", [(2, 3, 4, 5), (2, 3)]),
        ("Ab,bC", "ab,bc->ac", [(2, 3), (3, 4)]),
    ],
)
def test_short_forms(equation: str, like: str, shapes: list[tuple[int, ...]]) -> None:
    assert einsum_arithmetic(equation, shapes) == einsum_arithmetic(like, shapes)


def test_a_diagonal_is_a_view() -> None:
    assert einsum_arithmetic("ii->i", [(4, 4)]) == Einsum(0, 0)
    assert einsum_arithmetic("ii->", [(4, 4)]) == Einsum(0, 3)


def test_three_operands_in_order_or_along_a_path() -> None:
    shapes = [(2, 3), (3, 4), (4, 5)]
    assert einsum_arithmetic("ab,bc,cd->ad", shapes) == Einsum(2 * 3 * 4 + 2 * 4 * 5, 0)
    along = einsum_arithmetic("ab,bc,cd->ad", shapes, path=(1, 2, 0, 1))
    assert along == Einsum(3 * 4 * 5 + 2 * 3 * 5, 0)


class Contracts(nn.Module):
    def __init__(self, equation: str) -> None:
        super().__init__()
        self.equation = equation

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum(self.equation, x, x[:, :, 0, 0])


@pytest.mark.parametrize(
    ("equation", "macs", "flops"),
    [
        ("nchw,nc->nchw", 0, 2 * 6 * 20),
        ("nchw,nc->nhw", 2 * 6 * 20, 2 * 2 * 6 * 20),
        ("nchw,nc->nc", 0, 2 * 6 * 19 + 2 * 6),
    ],
)
def test_in_a_layer(equation: str, macs: int, flops: int) -> None:
    counted = count_flops(Contracts(equation), torch.zeros(2, 6, 5, 4))
    assert (counted.multiply_accumulates, counted.total) == (macs, flops)
    assert counted.uncounted_ops == ()
    assert count_flops(Contracts(equation), torch.zeros(2, 6, 5, 4), "mac").total == macs
