"""List what a command line can name, a line each: python -m dynact list activations."""

from collections.abc import Callable, Iterable

from dynact import activations
from dynact.networks import architectures
from dynact.schema.cases import Case, NetworkCase
from dynact.schema.choice import choice
from dynact.schema.rows import columns_of
from dynact.sweep.one_line_parser import OneLineParser


def main() -> None:
    """Run the command line."""
    parser = OneLineParser(prog="python -m dynact", description=__doc__)
    parser.add_argument("verb", metavar="list", help="the only word that there is")
    parser.add_argument("what", metavar="WHAT", help=f"one of {', '.join(LISTS)}")
    options = parser.parse_args()
    try:
        choice("command", options.verb, ("list",))
        lines = LISTS[choice("list", options.what, tuple(LISTS))]()
    except ValueError as error:
        parser.error(str(error))
    *before, _ = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for *cells, last in lines:
        print(*map(str.ljust, cells, before), last, sep="  ")


def _activations() -> list[list[str]]:
    """Return the name, title, papers and implementations of each; and why it is in no network."""
    lines = []
    for name in activations.names():
        declared = activations.activation(name)
        obstacle = activations.obstacle_in_networks(name)
        implementations = ", ".join(activations.implementations(name))
        not_there = f"; in no network: {obstacle}" if obstacle else ""
        papers = ", ".join(declared.papers)
        lines.append([name, declared.title, papers, implementations + not_there])
    return lines


def _networks() -> list[list[str]]:
    """Return the name, title and task of each, and the sizes of a sample."""
    lines = []
    for name in architectures.names():
        declared = architectures.architecture(name)
        size = declared.size_for(architectures.IMAGE_SIZE)
        sample = declared.sample(size) or f"3x{size}x{size}"
        lines.append([name, declared.title, sample, declared.task])
    return lines


def _figures() -> list[list[str]]:
    """Return the name and heading of each."""
    # On demand: it imports what draws.
    from dynact.report.figures.registry import FIGURES

    return [[name, figure.heading] for name, figure in FIGURES.items()]


def _columns() -> list[list[str]]:
    """Return the name, rows, unit and meaning of each, the last in a sentence."""
    of_layers, of_networks = (
        {column.name: column for column in columns_of(table)}
        for table in (Case.table, NetworkCase.table)
    )
    return [
        [name, _rows_with(name, of_layers, of_networks), column.unit, _sentence(column.help)]
        for name, column in (of_networks | of_layers).items()
    ]


def _rows_with(name: str, of_layers: Iterable[str], of_networks: Iterable[str]) -> str:
    if name in of_layers and name in of_networks:
        return "all rows"
    return "layers" if name in of_layers else "networks"


def _sentence(text: str) -> str:
    first, end, _ = text.partition(". ")
    return first + end.rstrip()


LISTS: dict[str, Callable[[], list[list[str]]]] = {
    "activations": _activations,
    "networks": _networks,
    "figures": _figures,
    "columns": _columns,
}


if __name__ == "__main__":
    main()
