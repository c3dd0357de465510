"""How every command ends: done, one line and status 1, or 130 after Ctrl-C."""

import io
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from espnet2_sv.bin.interrupts import (
    INTERRUPTED,
    check_interrupted,
    watch_interrupts,
)
from espnet2_sv.bin.notices import hide_notices
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError, describe_error

LOG_FORMAT = "%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s"
BROKEN_PIPE = 141  # exit status of a process that SIGPIPE has ended, as shells give it


def run(main: Callable[[], None], configure_logging: bool = True) -> None:
    """Run a command's ``main()`` and end the process as every command ends.

    Bad input, a full disk and exhausted memory are one line and exit status 1, Ctrl-C
    is one line and 130. What is left is an error of this program, with its traceback.

    Args:
        main: Called without arguments.
        configure_logging: False where ``main`` sets up logging itself, as ESPnet's
            tasks do.
    """
    use_utf8()
    hide_notices()
    watch_interrupts()
    if configure_logging:
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        check_interrupted()
        main()
        check_interrupted()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # e.g. ... | head
        _discard_output()
        sys.exit(BROKEN_PIPE)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except Exception as e:
        line = describe_error(e)
        if line is None:
            raise
        logging.debug("the error was raised here:", exc_info=True)
        _fail(line, 1)


def use_utf8() -> None:
    """Read and write UTF-8 in any locale, and print what a terminal cannot show.

    File names within Kaldi files are UTF-8, but Python opens files by names in the
    locale's encoding. Where that is another one, the process starts again in Python's
    UTF-8 mode.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        words = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execv(sys.executable, words)
    for stream in (sys.stdout, getattr(sys.stderr, "stream", sys.stderr)):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fail(line: str, status: int) -> None:
    print(f"error: {line}", file=sys.stderr)
    _discard_output()
    sys.exit(status)


def _discard_output() -> None:
    """Keep Python from complaining once more that standard output cannot be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_summary(summary: dict[str, Any], as_json: bool) -> None:
    """Print what a command found out, one name and value per line or as JSON."""
    if as_json:
        print(json.dumps(summary))
        return
    for key, value in summary.items():
        print(f"{key.replace('_', ' '):<20} {_readable(value)}")


def _readable(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_report(report: ValidationReport, data_dir: str) -> None:
    """Log the warnings about a data directory and print its problems, one per line.

    Raises:
        SVError: There are problems, or the report's file cannot be written.
    """
    report.save()
    for line in report.warnings():
        logging.warning(line)
    for line in report.problems():
        print(line)
    if report.num_problems:
        raise SVError(f"{data_dir}: {report.num_problems} problem(s), listed above")
