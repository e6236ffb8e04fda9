"""An argument parser for scripts that answers a mistake in one line."""

import argparse
import os
from pathlib import Path
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    """A parser that answers a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with the message alone; --help has the rest."""
        self.exit(2, f"{self.prog}: {message}\n")

    def cannot_write(self, error: OSError, folder: Path) -> NoReturn:
        """Leave and say what of a run's folder could not be written or read."""
        # A full disk is met when a file is closed, whose name is not known any more.
        name = os.path.relpath(str(error.filename or folder))
        self.error(f"{name}: {error.strerror or error}")
