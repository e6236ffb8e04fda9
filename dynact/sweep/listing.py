"""The option of all scripts that lists what can be named, and ends."""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any


def add_list(add: Callable[..., Any]) -> None:
    """Declare it, by an argument parser's ``add_argument`` or pytest's ``addoption``."""
    add("--list", metavar="WHAT", action=_List,
        help="list activations, networks, figures or columns, a line each, and end")  # fmt: skip


class _List(argparse.Action):
    def __call__(self, _parser: object, _namespace: object, what: Any, *_: object) -> None:
        # A process of its own: what lists figures imports what draws them, and a sweep must not.
        path = os.pathsep.join(folder or os.curdir for folder in sys.path)
        listed = subprocess.run(
            [sys.executable, "-m", "dynact", "list", what], env={**os.environ, "PYTHONPATH": path}
        )
        raise SystemExit(listed.returncode)
