"""Where commands write: consoles, progress bars, and names of new directories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from matinvent.errors import InputError


def console() -> Console:
    """What a person reads: results and progress."""
    return Console()


def error_console() -> Console:
    """Errors and warnings."""
    return Console(stderr=True)


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[float], None]]:
    """Show a bar on a terminal, and a line per quarter elsewhere.

    Yields a function that takes the finished share in [0, 1]. All goes to stderr, so that results can be piped.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    out = error_console()
    if not out.is_terminal:
        yield partial(_say_quarters, out, text, set())
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task(text, total=1.0)
        yield lambda done: bar.update(task, completed=min(max(done, 0.0), 1.0))


@contextmanager
def checked_bar(text: str, check: Callable[[], None]) -> Iterator[Callable[[float], None]]:
    """A progress bar whose function also looks for signals."""
    with progress_bar(text) as show:

        def progress(done: float) -> None:
            check()
            show(done)

        yield progress


def _say_quarters(out: Console, text: str, said: set[int], done: float) -> None:
    """Print the share at 25, 50, 75 and 100 %; ``said`` remembers what was printed."""
    quarter = int(4 * done)
    if quarter > max(said, default=0):
        said.add(quarter)
        out.print(f"{text}: {quarter * 25} %", soft_wrap=True, highlight=False)


def next_directory(parent: Path, name: str) -> Path:
    """``parent/name-N`` with N one above the largest number in use, so that runs sort by age."""
    numbers = [path.name.removeprefix(f"{name}-") for path in parent.glob(f"{name}-*")]
    return parent / f"{name}-{max((int(n) for n in numbers if n.isdecimal()), default=0) + 1}"


def refuse_existing(path: Path) -> None:
    """Never overwrite what is there.

    Raises:
        InputError: the path exists.
    """
    if path.exists():
        raise InputError(f"{path}: exists already and is never overwritten; choose another --output")
