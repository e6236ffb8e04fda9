"""The arithmetic of an einsum, which may be a product of matrices, of elements, or a sum."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import prod

# The size of each distinct index: a letter, or a place among those of an ellipsis.
Sizes = dict[Hashable, int]


@dataclass(frozen=True)
class Einsum:
    """What an einsum computes."""

    multiply_accumulates: int
    """Those of contractions: over letters of two operands that nothing later has."""
    other_flops: int
    """Multiplications without a contraction, and additions along letters of one operand alone."""


def einsum_arithmetic(
    equation: str, shapes: Sequence[Sequence[int]], path: Sequence[int] = ()
) -> Einsum:
    """Count an einsum as torch computes it: two operands at a time.

    Of two operands the letters that only one of them has, and nothing later, are summed first.

    Parameters
    ----------
    equation
        As torch.einsum takes it: spaces, an ellipsis, an output left out.
    shapes
        Of the operands.
    path
        Positions of the two operands of each step, whose result then stands last; without one,
        the first two, whose result stands first.
    """
    terms, arrow, output = equation.replace(" ", "").partition("->")
    operands = [
        dict(zip(_indices(term, len(shape)), shape, strict=True))
        for term, shape in zip(terms.split(","), shapes, strict=True)
    ]
    kept = _kept(output, operands) if arrow else _kept_by_default(terms, operands)
    products = other = 0
    for step in range(len(operands) - 1):
        places = sorted(path[2 * step : 2 * step + 2]) or [0, 1]
        second, first = operands.pop(places[1]), operands.pop(places[0])
        needed = kept.union(*operands)
        first, added = _summed(first, needed.union(second))
        second, added_too = _summed(second, needed.union(first))
        other += added + added_too
        together = {i: max(first.get(i, 1), second.get(i, 1)) for i in first | second}
        if together.keys() <= needed:
            other += prod(together.values())
        else:
            products += prod(together.values())
        result = {i: size for i, size in together.items() if i in needed}
        operands.insert(len(operands) if path else 0, result)
    return Einsum(products, other + _summed(operands[0], kept)[1])


def _indices(term: str, dimensions: int) -> list[Hashable]:
    before, ellipsis, after = term.partition("...")
    places = range(len(before) + len(after) - dimensions, 0) if ellipsis else ()
    return [*before, *places, *after]


def _kept(output: str, operands: Sequence[Sizes]) -> set[Hashable]:
    letters: set[Hashable] = {*output} - {"."}
    return letters | (_places(operands) if "..." in output else set())


def _kept_by_default(terms: str, operands: Sequence[Sizes]) -> set[Hashable]:
    return {i for i in terms if i.isalpha() and terms.count(i) == 1} | _places(operands)


def _places(operands: Sequence[Sizes]) -> set[Hashable]:
    return {i for operand in operands for i in operand if isinstance(i, int)}


def _summed(operand: Sizes, needed: set[Hashable]) -> tuple[Sizes, int]:
    """Return an operand without the letters that nothing needs, and the additions it takes."""
    left = {i: size for i, size in operand.items() if i in needed}
    return left, prod(operand.values()) - prod(left.values())
