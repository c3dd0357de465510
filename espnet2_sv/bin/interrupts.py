"""Ctrl-C: one line and exit status 130, from the first import of a command on.

This module imports next to nothing, since it has to be there before anything else.
"""

import os
import signal
import sys

INTERRUPTED = 130  # exit status of a process that SIGINT has ended, as shells give it

_interrupted = False


def watch_interrupts() -> None:
    """Remember Ctrl-C, also where a package that is being imported swallows it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
        sys.excepthook = _interrupted_import


def check_interrupted() -> None:
    """Stop if Ctrl-C was pressed before.

    Raises:
        KeyboardInterrupt: It was.
    """
    if _interrupted:
        raise KeyboardInterrupt


def _interrupt(number, frame):
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


def _interrupted_import(kind, error, traceback):
    """End in one line where Ctrl-C came before the command was run."""
    if issubclass(kind, KeyboardInterrupt):
        print("error: interrupted", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)
    sys.__excepthook__(kind, error, traceback)
