"""What every command line shares: logging and how errors reach the user."""

import logging
import sys
from collections.abc import Callable

from espnet2_sv.errors import SVError


def run(main: Callable[[], None]) -> None:
    """Run a command's ``main()``; an :class:`SVError` becomes one line and exit status 1."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s"
    )
    try:
        main()
    except SVError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # e.g. ... | head
        sys.exit(141)
