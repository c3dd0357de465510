"""What the commands share: logging and how errors reach the user."""

import logging
import sys
from collections.abc import Callable

from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError

LOG_FORMAT = "%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s"


def run(main: Callable[[], None], configure_logging: bool = True) -> None:
    """Run a command's ``main()``; its errors become one line and an exit status.

    An :class:`SVError` ends the process with status 1.

    Args:
        main: Called without arguments.
        configure_logging: False where ``main`` sets up logging itself, as ESPnet's
            tasks do.
    """
    if configure_logging:
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        main()
    except SVError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # e.g. ... | head
        sys.exit(141)


def print_report(report: ValidationReport, data_dir: str) -> None:
    """Log the warnings about a data directory and print its problems, one per line.

    Raises:
        SVError: There are problems.
    """
    for line in report.warnings():
        logging.warning(line)
    for line in report.problems():
        print(line)
    if report.num_problems:
        raise SVError(f"{data_dir}: {report.num_problems} problem(s), listed above")
