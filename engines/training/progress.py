"""What a fit says of itself: aloud with the time left, to a CSV file, and to TensorBoard where that is installed."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from engines.whole_file import write_whole

log = logging.getLogger(__name__)

Report = Callable[[str], None]
FIELDS = ("unix_s", "step", "loss", "learning_rate", "pictures_per_s", "val_auc", "val_loss")
_LOSS_MEMORY = 0.98


@dataclass(frozen=True)
class Judgement:
    """What a round on the val split found."""

    auc: float
    loss: float
    """Mean negative log likelihood, uncalibrated."""


class Board(Protocol):
    """Of TensorBoard's writer, what is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...


@contextmanager
def open_board(folder: Path, step: int) -> Iterator[Board | None]:
    """TensorBoard's writer, on from ``step``; None, and a line that says so, where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError:
        log.info("no TensorBoard logs: pip install tensorboard")
        yield None
        return
    writer = SummaryWriter(str(folder), purge_step=step + 1)
    try:
        yield writer
    finally:
        writer.close()


@dataclass
class Progress:
    """Says where a run stands, and appends each report to a CSV file with its time."""

    table: Path
    total: int
    pictures_a_step: int
    say: Report = log.info
    every: int = 25
    board: Board | None = None
    _began: float = field(default_factory=time.monotonic)
    _first: int = -1
    _loss: float = 0.0

    def note(self, step: int, loss: float, learning_rate: float, judgement: Judgement | None = None) -> None:
        """``step`` steps are done, the last with ``loss``; every round on the val split is a report of its own."""
        if self._first < 0:
            self._first, self._loss = step - 1, loss
            forget_after(self.table, self._first)
        self._loss = _LOSS_MEMORY * self._loss + (1 - _LOSS_MEMORY) * loss
        if step % self.every == 0 or step == self.total or judgement is not None:
            self._report(step, learning_rate, judgement)

    def _report(self, step: int, learning_rate: float, judgement: Judgement | None) -> None:
        per_second = (step - self._first) / max(time.monotonic() - self._began, 1e-9)
        rate, left_s = per_second * self.pictures_a_step, (self.total - step) / per_second
        found = "" if judgement is None else f"  val AUC {judgement.auc:.4f} loss {judgement.loss:.4f}"
        self.say(
            f"{step}/{self.total}  loss {self._loss:.4f}{found}  {rate:.0f} pictures/s  {left_s / 60:.0f} min left"
        )
        numbers = {"loss": self._loss, "learning_rate": learning_rate, "pictures_per_s": rate}
        numbers |= {} if judgement is None else {"val_auc": judgement.auc, "val_loss": judgement.loss}
        self._write(step, numbers)
        for name, value in numbers.items() if self.board else ():
            self.board.add_scalar(name, value, step)  # type: ignore[union-attr]  # there, or nothing is gone through

    def _write(self, step: int, numbers: dict[str, float]) -> None:
        is_new = not self.table.exists()
        with self.table.open("a", newline="") as file:
            rows = csv.DictWriter(file, FIELDS, restval="")
            if is_new:
                rows.writeheader()
            shown = {name: f"{value:.6g}" for name, value in numbers.items()}
            rows.writerow({"unix_s": f"{time.time():.0f}", "step": step, **shown})


def forget_after(table: Path, step: int) -> None:
    """Drop rows of steps that a resumed run takes again."""
    if not table.is_file():
        return
    with table.open(newline="") as file:
        kept = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
    text = io.StringIO(newline="")
    rows = csv.DictWriter(text, FIELDS, restval="", extrasaction="ignore")
    rows.writeheader()
    rows.writerows(kept)
    write_whole(table, text.getvalue().encode())
