"""How far a training is: one renewed line on a terminal, a line per epoch elsewhere.

``progress.txt`` in the output directory holds the lines of this run: those of its ended
epochs and, last and without an end of line, the current state. sv.sh shows the file
while a job runs, on whatever machine that is.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from espnet2.train.reporter import SubReporter, aggregate
from espnet2_sv.errors import SVError
from espnet2_sv.fileio import atomic_write

PROGRESS = "progress.txt"
_INTERVAL = 1.0  # seconds between two updates within an epoch
_RECENT = 100  # batches whose mean loss is shown within an epoch
# Go to the beginning of the line, erase it; do not wrap what is too long; wrap again
_ERASE, _NO_WRAP, _WRAP = "\r\x1b[K", "\x1b[?7l", "\x1b[?7h"
_DURATIONS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def short_duration(seconds: float) -> str:
    """Two units at most, e.g. ``45 s``, ``3 min 20 s``, ``12 min`` or ``1 h 5 min``."""
    left = round(seconds)
    if left >= 600:  # seconds no longer matter
        left = round(left / 60) * 60
    words: list[str] = []
    for unit, size in _DURATIONS:
        count, left = divmod(left, size)
        if count or words:
            words.append(f"{count} {unit}" if count else "")
        if len(words) == 2:
            break
    return " ".join(filter(None, words)) or "0 s"


class Pace:
    """How long epochs take, and how long the rest of the training will.

    The durations of the previous epoch and of this one count, so that an encoder that
    is no longer frozen shows soon. The first batch of a run is left out: it starts the
    loading processes and, on a GPU, libraries.
    """

    def __init__(self, clock: Callable[[], float]):
        """Measure with a clock in seconds."""
        self.clock = clock
        self._train = [(0.0, 0), (0.0, 0)]  # seconds and batches: previous, this epoch
        self._skipped: float | None = None  # when the first batch of the run ended
        self._valid = 0.0  # seconds of the last validation
        self._batches = 0  # of an epoch
        self._since: float | None = None  # begin of the current phase
        self._done, self._of = 0, 0  # batches of the current phase
        self._training = True

    def begin(self, training: bool, batches: int) -> None:
        """Begin a phase: training or validation of an epoch, of so many batches."""
        now = self.clock()
        if self._since is not None and not self._training:
            self._valid = now - self._since  # with saving
        if training:
            self._batches = batches
            self._train = [self._train[1], (0.0, 0)]
        self._since, self._done, self._of = now, 0, batches
        self._training = training

    def step(self, done: int) -> None:
        """Note that ``done`` batches of the phase have ended."""
        self._done = done
        if not self._training or self._since is None:
            return
        now, since, count = self.clock(), self._since, done
        if self._skipped is None and done:
            self._skipped = now
        if not self._train[0][1] and self._skipped is not None and done > 1:
            since, count = self._skipped, done - 1
        self._train[1] = (now - since, count)

    def remaining(self, epochs: int) -> float | None:
        """Seconds until the end of this epoch and ``epochs`` further ones.

        None before the first batch has ended.
        """
        seconds, batches = map(sum, zip(*self._train, strict=True))
        if not batches or self._since is None:
            return None
        train, valid = seconds / batches * self._batches, self._valid
        elapsed = self.clock() - self._since
        left = self._done / self._of if self._of else 1.0
        if self._training:
            rest = train * (1 - left) + valid
        else:
            if self._done:
                valid = max(valid, elapsed / left)
            rest = max(valid - elapsed, 0.0)
        return rest + epochs * (train + valid)


class Progress:
    """Shows the progress of a training.

    On a terminal, one line renews itself; the log has a line per epoch.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike | None,
        max_epoch: int,
        *,
        may_stop_early: bool = False,
        terminal: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Start to show.

        Args:
            output_dir: Where to write progress.txt; None shows nothing, for all but the
                first of several processes.
            max_epoch: Number of epochs.
            may_stop_early: Whether training may end before.
            terminal: Where to show the renewed line; standard error by default, if that
                is a terminal.
            clock: Seconds since any time.
        """
        self._path = None if output_dir is None else Path(output_dir, PROGRESS)
        self._max_epoch = max_epoch
        self._may_stop_early = may_stop_early
        self._clock = clock
        self._pace = Pace(clock)
        self._lines: list[str] = []
        self._eers: dict[int, float] = {}
        self._epoch = 0
        self._updated: float | None = None
        self._reporter: SubReporter | None = None
        self._terminal = None
        if self._path is not None:
            self._terminal = terminal or _terminal(sys.stderr)
        if self._terminal is not None:  # log lines do not begin within the shown one
            for handler in logging.getLogger().handlers:
                handler.addFilter(self._erase)

    def resume(self, epochs: Mapping[int, Mapping[str, Any]]) -> None:
        """Take over the epochs of earlier runs.

        Args:
            epochs: What ESPnet's reporter has of each, e.g. ``{1: {"valid": {"eer":
                12.5}}}``.
        """
        found = {epoch: phases.get("valid", {}) for epoch, phases in epochs.items()}
        self._eers = {e: stats["eer"] for e, stats in found.items() if "eer" in stats}
        if self._eers:
            best, eer = self._best()
            self._add(
                f"resumed after epoch {max(epochs)}/{self._max_epoch}: best validation"
                f" EER {eer:.2f} %, in epoch {best}"
            )

    def watch_training(
        self, batches: Iterable, reporter: SubReporter
    ) -> "WatchedBatches":
        """Return the batches of an epoch's training, shown as they are taken."""
        self._epoch = reporter.get_epoch()
        return WatchedBatches(batches, self, "batch", reporter)

    def watch_validation(self, batches: Iterable) -> "WatchedBatches":
        """Return the batches of an epoch's validation, shown as they are taken."""
        return WatchedBatches(batches, self, "validation batch", None)

    def end_epoch(self, eer: float) -> None:
        """Note the result of an epoch's validation.

        Args:
            eer: EER in percent.
        """
        self._eers[self._epoch] = eer
        mark = ", the best so far" if self._best()[0] == self._epoch else ""
        line = f"epoch {self._epoch}/{self._max_epoch}: {self._loss_text()}validation"
        line += f" EER {eer:.2f} %{mark}"
        if self._epoch < self._max_epoch:
            line += self._left()
        self._add(line)
        if self._path is not None:
            logging.info(line)

    def finish(self, curves: str | os.PathLike | None) -> None:
        """Show the best epoch and where the learning curves are.

        Args:
            curves: Folder of ESPnet's pictures, if they were drawn.
        """
        lines = []
        if self._eers:
            epoch, eer = self._best()
            count = len(self._eers)
            lines = [f"best epoch: {epoch} of {count}, validation EER {eer:.2f} %"]
        pictures = ("eer.png", "loss.png", "acc.png")
        if curves is not None and (
            drawn := [name for name in pictures if Path(curves, name).exists()]
        ):
            paths = ", ".join(str(Path(curves, name)) for name in drawn)
            lines.append(f"learning curves: {paths}")
        for line in lines:
            self._add(line)
            if self._path is not None:
                logging.info(line)

    def close(self) -> None:
        """Leave the terminal's line as it was."""
        self._erase()
        for handler in logging.getLogger().handlers:
            handler.removeFilter(self._erase)

    # Called by WatchedBatches

    def begin_phase(
        self, unit: str, batches: int, reporter: SubReporter | None
    ) -> None:
        """Begin to train or to validate."""
        if reporter is not None:
            self._reporter = reporter
        self._pace.begin(reporter is not None, batches)
        self._updated = None
        self.show(unit, 0, batches)

    def show(self, unit: str, done: int, batches: int) -> None:
        """Show that ``done`` batches have ended, at most every second."""
        self._pace.step(done)
        now = self._clock()
        if self._path is None or (
            self._updated is not None and now - self._updated < _INTERVAL
        ):
            return
        self._updated = now
        count = f"{done:,}/{batches:,}" if batches else f"{done:,}"
        line = f"epoch {self._epoch}/{self._max_epoch}, {unit} {count}:"
        line += f" {self._loss_text(_RECENT)}"
        if self._eers:
            last, (best, eer) = self._eers[max(self._eers)], self._best()
            line += f"validation EER {last:.2f} %"
            line += f" (best {eer:.2f} % in epoch {best})" if eer < last else ""
        self._write(line.rstrip(" :,") + self._left())

    def _loss_text(self, batches: int = 0) -> str:
        """The mean loss of the epoch, or of its last ``batches`` (which is faster)."""
        values = self._reporter.stats.get("loss") if self._reporter else None
        return f"loss {aggregate(values[-batches:]):.3f}, " if values else ""

    def _left(self) -> str:
        seconds = self._pace.remaining(self._max_epoch - self._epoch)
        if seconds is None:
            return ""
        at_most = "at most " if self._may_stop_early else ""
        return f", {at_most}{short_duration(seconds)} left"

    def _best(self) -> tuple[int, float]:
        """The epoch with the lowest EER, and that."""
        return min(self._eers.items(), key=lambda found: (found[1], found[0]))

    def _add(self, line: str) -> None:
        self._lines.append(f"{line}\n")
        self._write("")

    def _write(self, current: str) -> None:
        if self._path is None:
            return
        try:
            with atomic_write(self._path) as stream:
                stream.write("".join(self._lines) + current)
        except (OSError, SVError) as e:  # no reason to stop a training
            logging.debug(f"{self._path}: {e}")
        if self._terminal is not None and current:
            self._terminal.write(f"{_ERASE}{_NO_WRAP}{current}{_WRAP}")
            self._terminal.flush()

    def _erase(self, record: logging.LogRecord | None = None) -> bool:
        if self._terminal is not None:
            self._terminal.write(_ERASE)
            self._terminal.flush()
        return True


class WatchedBatches:
    """Batches of a phase; taking one tells that the one before has ended."""

    def __init__(
        self,
        batches: Iterable,
        progress: Progress,
        unit: str,
        reporter: SubReporter | None,
    ):
        """Wrap batches, of which there are ``len(batches)`` if it has a length."""
        self._batches = batches
        self._progress = progress
        self._unit = unit
        self._reporter = reporter

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator:
        """Yield the batches."""
        try:
            total = len(self)
        except TypeError:  # a stream
            total = 0
        self._progress.begin_phase(self._unit, total, self._reporter)
        done = -1
        for done, batch in enumerate(self._batches):
            self._progress.show(self._unit, done, total)
            yield batch
        self._progress.show(self._unit, done + 1, total)


def _terminal(stream: TextIO | None) -> TextIO | None:
    """Return the stream if it is a terminal that can renew a line."""
    usable = stream is not None and stream.isatty()
    return stream if usable and os.environ.get("TERM", "dumb") != "dumb" else None
