"""Compiles the simulated accelerator once for these sources, this torch and this Python."""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

FOLDER = Path(__file__).parent
NAME = "simulated_accelerator"
SOURCES = sorted(FOLDER.glob("*.cpp"))
# Nothing that is timed here is real: what counts is how long the compiler takes.
FLAGS = ["-O1", "-g0", "-DUSE_KINETO", "-DFMT_HEADER_ONLY"]


# Beside the interpreter lies what pip installs, as ninja.
PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))


def missing_tools() -> list[str]:
    """Return which of the programs are not there that compile it."""
    return [tool for tool in ("c++", "ninja") if not shutil.which(tool, path=PATH)]


def library() -> Path:
    """Return the compiled extension, in torch's folder for such; compiling takes about a minute.

    Raises
    ------
    subprocess.CalledProcessError
        If it does not compile; what the compiler said is its output.
    """
    state = hashlib.sha256()
    for path in (*SOURCES, FOLDER / "machine.h", Path(__file__)):
        state.update(path.read_bytes())
    state.update(f"{version('torch')} {sys.version}".encode())
    root = os.environ.get("TORCH_EXTENSIONS_DIR", Path.home() / ".cache/torch_extensions")
    folder = Path(root) / f"dynact_sim_{state.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    compiled = folder / f"{NAME}.so"
    done = folder / "done"
    with FileLock(folder / "being_compiled"):
        if not done.exists():
            # In a process of its own: to load the device is to have it for good.
            subprocess.run(
                (sys.executable, __file__, str(folder)),
                check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                env={**os.environ, "PATH": PATH},
            )  # fmt: skip
            done.touch()
    return compiled


def _compile(folder: str) -> None:
    from torch.utils.cpp_extension import include_paths, load

    # Headers of the profiler's library, which torch hands to no extension by itself.
    kineto = [str(Path(path) / "kineto") for path in include_paths()]
    load(
        NAME, list(map(str, SOURCES)), build_directory=folder, extra_cflags=FLAGS,
        extra_include_paths=kineto, verbose=True,
    )  # fmt: skip


if __name__ == "__main__":
    _compile(sys.argv[1])
