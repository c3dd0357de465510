"""What every command line shares: logging and how errors reach the user."""

import logging
import sys
from collections.abc import Callable

from espnet2_sv.errors import SVError

LOG_FORMAT = "%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s"


def run(main: Callable[[], None], configure_logging: bool = True) -> None:
    """Run a command's ``main()``; an :class:`SVError` becomes one line and exit status 1.

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
