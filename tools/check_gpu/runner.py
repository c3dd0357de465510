"""Runs the parts in processes of their own, each within its time."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from check_gpu.child import read_lines
from check_gpu.results import FAIL, Row

ENTRY = Path(__file__).resolve().parent.parent / "check_gpu.py"
POLL_SECONDS = 0.1
LOG_LINES = 60  # of a part that failed, kept for a report


class PartRun:
    """One part: starts its process, follows it, and starts another after a crash.

    Args:
        name: Name of the part.
        module: Its module.
        device: ``"cuda"`` or ``"cpu"``.
        workdir: Folder that all parts share.
        seconds: Its limit.
        report: Called with each result as soon as it is there.
    """

    def __init__(
        self,
        name: str,
        module: str,
        device: str,
        workdir: Path,
        seconds: float,
        report: Callable[[Row], object],
    ):
        self.name = name
        self.lines, self.log = workdir / f"{name}.jsonl", workdir / f"{name}.log"
        self.deadline, self.limit = time.time() + seconds, seconds
        self.report = report
        # Tiny networks are faster with one thread, above all on a machine that is busy
        self.env = dict(os.environ)
        if device == "cpu":
            self.env.setdefault("OMP_NUM_THREADS", "1")
        self.reported = 0
        self._unmade: set[str] = set()  # checks that no process has a result of
        self._since = 0.0  # seconds since the current check began
        self.command = [sys.executable, str(ENTRY), "--device", device, "--run_part"]
        self.command += [name, module, str(workdir), str(self.deadline)]

    def run(self) -> None:
        """Make all checks of the part, or report why they were not made."""
        missing: list[str] | None = None
        while missing is None or missing:
            before = missing
            status = self._one_process()
            done, plan, current = self._state()
            reason = self._reason(status)
            if current:
                self._fail(current, reason, self._since)
            missing = [c for c in plan if c not in done and c != current]
            if not plan:
                self._fail("start", reason)
            elif status is None or time.time() > self.deadline:
                reason = f"not reached within the part's {self.limit:.0f} s"
            elif missing != before:
                continue
            for check in missing:
                self._fail(check, reason)
            return

    def log_tail(self) -> list[str]:
        """Return the last lines that the part's processes wrote."""
        if not self.log.exists():
            return []
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return text.splitlines()[-LOG_LINES:]

    def _one_process(self) -> int | None:
        """Return the exit status; None if the process was cut off."""
        self._since = 0.0
        with open(self.log, "a", encoding="utf-8") as log:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,
            )
        try:
            current, began = None, time.time()
            while process.poll() is None and time.time() < self.deadline:
                time.sleep(POLL_SECONDS)
                _, _, check = self._state()
                if check != current:
                    current, began = check, time.time()
                self._since = time.time() - began
            return process.poll()
        finally:  # also what the part started itself, such as loading processes
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _state(self) -> tuple[set[str], list[str], str]:
        """Report new results; return checks that are done, all, and the current one."""
        lines = read_lines(self.lines)
        results = [line for line in lines if "result" in line]
        for line in results[self.reported :]:
            self.report(Row(**line))
        self.reported = len(results)
        done = {line["check"] for line in results} | self._unmade
        begun = [line["begin"] for line in lines if "begin" in line]
        plan = next((line["plan"] for line in lines if "plan" in line), [])
        current = begun[-1] if begun and begun[-1] not in done else ""
        return done, plan, current

    def _fail(self, check: str, reason: str, seconds: float = 0.0) -> None:
        self._unmade.add(check)
        self.report(Row(self.name, check, FAIL, reason, seconds=seconds))

    def _reason(self, status: int | None) -> str:
        if status is None:
            return f"cut off at the part's limit of {self.limit:.0f} s"
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        last = next((line for line in reversed(self.log_tail()) if line.strip()), "")
        return f"the process ended with {ended}: {last.strip()}"


def run_parts(
    parts: dict[str, tuple[str, float]],
    device: str,
    workdir: Path,
    seconds: float,
    report: Callable[[Row], object],
) -> dict[str, list[str]]:
    """Run parts one after another within a total time.

    A part's limit is its share of the total and what the parts before it did not use.

    Args:
        parts: Module and share by name.
        device: ``"cuda"`` or ``"cpu"``.
        workdir: Folder that all parts share.
        seconds: Total time.
        report: Called with each result as soon as it is there.

    Returns:
        Last lines of the logs, by part.
    """
    start, total, passed, logs = time.time(), sum(s for _, s in parts.values()), 0.0, {}
    for name, (module, share) in parts.items():
        passed += share
        left = start + seconds * passed / total - time.time()
        part = PartRun(name, module, device, workdir, left, report)
        part.run()
        logs[name] = part.log_tail()
    return logs
