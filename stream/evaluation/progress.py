"""How far a long run is, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@dataclass(frozen=True, repr=False)
class Telling:
    """Bars while something runs, and lines that stay."""

    _progress: Progress

    def counter(self, name: str, total: int) -> Callable[[int], None]:
        """A bar, moved by how many more are done."""
        task = self._progress.add_task(name, total=total)
        return lambda more: self._progress.update(task, advance=more)

    def complain(self, text: str) -> None:
        line = f"unmask: {text}"
        self._progress.console.print(line, style="red", highlight=False, soft_wrap=True, markup=False)


@contextmanager
def telling() -> Iterator[Telling]:
    """On stderr, so that stdout holds the answer only; the bars are silent when stderr is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=hidden) as progress:
        yield Telling(progress)
