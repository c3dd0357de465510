"""What a training shows of itself, by a clock that the tests set."""

import io
import logging
import random
import re

import pytest

from espnet2.train.reporter import Reporter, SubReporter
from espnet2_sv.train.progress import PROGRESS, Pace, Progress, short_duration


class Clock:
    """A clock that goes only when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (629, "10 min"),
        (3599, "1 h"),
        (3661, "1 h 1 min"),
        (86400 + 60, "1 d"),
        (90061, "1 d 1 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds, text):
    assert short_duration(seconds) == text


def run_epochs(progress, clock, plan, losses=None, stop=None):
    """Train as ESPnet's trainer does; yield the moment and the file after each step.

    Args:
        plan: Per epoch: seconds per training batch, and of validation; EER.
        stop: Where to stop: (epoch, batches).
    """
    reporter = Reporter()
    for epoch, (train, valid, eer) in enumerate(plan, 1):
        reporter.set_epoch(epoch)
        with reporter.observe("train") as sub:
            batches = progress.watch_training([0.0] * len(train), sub)
            assert len(batches) == len(train)
            for number, _ in enumerate(batches):
                if (epoch, number) == stop:
                    return
                clock.now += train[number]
                sub.register({"loss": (losses or [1.0] * 9)[epoch - 1]})
                sub.next()
                yield clock.now
        for _ in progress.watch_validation([0.0] * len(valid)):
            clock.now += valid.pop()
            yield clock.now
        progress.end_epoch(eer)
    progress.finish(None)


def shown_remaining(text: str) -> float | None:
    """The remaining seconds in the last line of a progress.txt."""
    found = re.search(r", (?:at most )?([\d a-z]+) left$", text)
    if not found:
        return None
    units = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    words = found[1].split()
    pairs = zip(words[::2], words[1::2], strict=True)
    return sum(int(count) * units[unit] for count, unit in pairs)


@pytest.mark.parametrize("seed", range(5))
def test_the_time_left_is_that_of_a_steady_training(tmp_path, seed):
    rng = random.Random(seed)
    epochs, batches, valid = rng.randint(2, 5), rng.randint(3, 30), rng.randint(1, 4)
    slow, fast = rng.uniform(3, 20), rng.uniform(0.5, 5)  # the first one starts up
    step = rng.uniform(1.5, 4)
    plan = [([fast] * batches, [step] * valid, 10.0) for _ in range(epochs)]
    plan[0][0][0] = slow
    clock = Clock()
    progress = Progress(tmp_path, epochs, clock=clock)
    end = clock.now + slow - fast + epochs * (batches * fast + valid * step)
    checked = 0
    unknown = valid * step * epochs  # until validation has been timed
    for count, now in enumerate(run_epochs(progress, clock, plan)):
        left = shown_remaining((tmp_path / PROGRESS).read_text())
        if count < 2 or left is None:
            continue
        # a line may be a second, and a step, old; minutes are rounded
        tolerance = 1 + max(fast, step) + 31
        if count >= batches + valid:
            unknown = 0
        assert left <= end - now + tolerance
        assert left >= end - now - tolerance - unknown
        checked += 1
    assert checked > 3


def test_the_time_left_is_known_in_the_first_epoch_and_follows_a_slower_one():
    clock = Clock()
    pace = Pace(clock)
    pace.begin(training=True, batches=10)
    assert pace.remaining(0) is None
    clock.now += 60  # loading processes start
    pace.step(1)
    for done in (2, 3):
        clock.now += 2
        pace.step(done)
    assert pace.remaining(0) == pytest.approx(7 * 2)
    for done in range(4, 11):
        clock.now += 2
        pace.step(done)
    pace.begin(training=False, batches=1)
    clock.now += 5
    pace.step(1)
    pace.begin(training=True, batches=10)  # from now on, all weights are trained
    for done in range(1, 11):
        clock.now += 20
        pace.step(done)
    half = pace.remaining(1)
    pace.begin(training=False, batches=1)
    pace.begin(training=True, batches=10)
    clock.now += 20
    pace.step(1)
    assert 100 < half < 220 and pace.remaining(0) == pytest.approx(180 + 0, abs=6)


def test_ended_epochs_have_a_line_each_and_the_current_one_is_last(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    progress = Progress(tmp_path, 3, clock=clock)
    plan = [([2.0, 2.0], [3.0], eer) for eer in (20.0, 8.25, 9.0)]
    steps = run_epochs(progress, clock, plan, losses=[3.0, 2.0, 1.5])
    for _ in range(5):  # up to the middle of the second epoch
        next(steps)
    text = (tmp_path / PROGRESS).read_text()
    first, current = text.split("\n")
    assert re.fullmatch(
        r"epoch 1/3: loss 3\.000, validation EER 20\.00 %, the best so far, \d+ s left",
        first,
    )
    assert re.fullmatch(
        r"epoch 2/3, batch 1/2: loss 2\.000, validation EER 20\.00 %, \d+ s left",
        current,
    )
    list(steps)
    text = (tmp_path / PROGRESS).read_text()
    lines = text.splitlines()
    assert text.endswith("\n") and len(lines) == 4
    assert "8.25 %, the best so far" in lines[1] and "best" not in lines[2]
    assert "left" not in lines[2]
    assert lines[3] == "best epoch: 2 of 3, validation EER 8.25 %"
    assert [record.getMessage() for record in caplog.records] == lines


def test_within_an_epoch_the_loss_is_that_of_the_last_batches(tmp_path):
    clock, sub = Clock(), SubReporter("train", 1, 0)
    progress = Progress(tmp_path, 1, clock=clock)
    for number, _ in enumerate(progress.watch_training([0.0] * 500, sub)):
        clock.now += 2
        sub.register({"loss": 1000.0 if number < 400 else float(number)})
        sub.next()
    text = (tmp_path / PROGRESS).read_text()
    assert text.startswith("epoch 1/1, batch 500/500: loss 449.500")
    progress.end_epoch(1.0)
    text = (tmp_path / PROGRESS).read_text()
    assert text.startswith("epoch 1/1: loss 889.900, ")


def test_the_best_epoch_of_a_resumed_training_may_be_an_earlier_one(tmp_path):
    clock = Clock()
    progress = Progress(tmp_path, 3, may_stop_early=True, clock=clock)
    progress.resume({1: {"valid": {"eer": 4.0}}, 2: {"valid": {"eer": 5.0}}})
    line = "resumed after epoch 2/3: best validation EER 4.00 %, in epoch 1\n"
    assert (tmp_path / PROGRESS).read_text() == line
    list(progress.watch_training([1, 2], SubReporter("train", 3, 0)))
    line = (tmp_path / PROGRESS).read_text().splitlines()[-1]
    assert line.startswith("epoch 3/3, batch 0/2: ")
    assert line.endswith("validation EER 5.00 % (best 4.00 % in epoch 1)")
    progress.end_epoch(6.0)
    images = tmp_path / "images"
    images.mkdir()
    (images / "eer.png").touch()
    progress.finish(images)
    *_, best, curves = (tmp_path / PROGRESS).read_text().splitlines()
    assert best == "best epoch: 1 of 3, validation EER 4.00 %"
    assert curves == f"learning curves: {images}/eer.png"


def test_on_a_terminal_one_line_renews_itself_between_log_lines(tmp_path):
    log, terminal, clock = io.StringIO(), io.StringIO(), Clock()
    root = logging.getLogger()
    handler = logging.StreamHandler(log)
    handler.stream = terminal  # both write to the terminal
    root.addHandler(handler)
    try:
        progress = Progress(tmp_path, 1, terminal=terminal, clock=clock)
        steps = run_epochs(progress, clock, [([2.0] * 3, [1.0], 1.0)])
        next(steps)
        next(steps)
        logging.getLogger().error("something else")
        progress.close()
        logging.getLogger().error("afterwards")
    finally:
        root.removeHandler(handler)
    written = terminal.getvalue()
    assert "\x1b[?7lepoch 1/1, batch 1/3: loss 1.000, 4 s left\x1b[?7h" in written
    assert "\r\x1b[Ksomething else\n" in written
    assert written.endswith("\r\x1b[Kafterwards\n")


def test_other_processes_than_the_first_show_nothing(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    clock = Clock()
    for _ in run_epochs(Progress(None, 1, clock=clock), clock, [([2.0], [1.0], 1.0)]):
        pass
    assert not list(tmp_path.iterdir()) and not caplog.records


def test_a_progress_file_that_cannot_be_written_stops_no_training(tmp_path):
    (tmp_path / "file").touch()
    clock = Clock()
    progress = Progress(tmp_path / "file", 1, clock=clock)
    assert len(list(run_epochs(progress, clock, [([2.0], [1.0], 1.0)]))) == 2
