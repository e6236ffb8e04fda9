"""What is the user's own, by its place in their code."""

import difflib
import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

PLACE = re.compile(r"[\w.]+:\w+")


def check_place(text: str, option: str, takes: str = "PKG.MOD:FUNCTION") -> str:
    """Return where something can be, as in ``"pkg.mod:name"``.

    Raises
    ------
    ValueError
        If it is not that: one line.
    """
    if not PLACE.fullmatch(text):
        raise ValueError(f"{option} takes {takes}, got {text!r}")
    module_name, _, name = text.partition(":")
    if module_name.endswith(".py"):
        raise ValueError(
            f"{option} takes a module's name, not its file's: "
            f"{module_name.removesuffix('.py')}:{name}"
        )
    return text


def find(place: str) -> Callable[..., Any]:
    """Return what is to be called at ``"pkg.mod:name"``, from the current folder on.

    Raises
    ------
    ValueError
        If it is not there or cannot be called: one line that says what is missing.
    """
    module_name, _, name = place.partition(":")
    # As Python itself does for a script there; pytest alone does not.
    if not {"", str(Path.cwd())} & {*sys.path}:
        sys.path.insert(0, str(Path.cwd()))
    module = _imported(place, module_name)
    if not hasattr(module, name):
        known = [word for word, value in vars(module).items() if callable(value)]
        near = difflib.get_close_matches(name, known)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"{place}: there is no {name!r} in {module_name}{hint}")
    found: Callable[..., Any] = getattr(module, name)
    if not callable(found):
        raise ValueError(f"{place} is of type {type(found).__name__}, which cannot be called")
    return found


def _imported(place: str, module_name: str) -> ModuleType:
    module = missing = None
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{module_name}.".startswith(f"{missing}."):
            first_line = next(iter(str(error).splitlines()), "")
            raise ValueError(
                f"{place} cannot be imported: {type(error).__name__}: {first_line}"
            ) from error
    at = Path(*module_name.split("."))
    for file in (at.with_suffix(".py"), at / "__init__.py"):
        if file.is_file() and (
            module is None or not module.__file__ or not file.samefile(module.__file__)
        ):
            raise ValueError(
                f"{place}: another {module_name.partition('.')[0]!r} hides that of the current "
                "folder; give yours another name"
            )
    if module is None:
        raise ValueError(
            f"{place}: there is no module {missing!r} in the current folder or among what is "
            "installed"
        )
    return module
