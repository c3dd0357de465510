"""Command lines, one per verb."""

import signal
import sys

_WORKER = "--multiprocessing-fork" in sys.orig_argv  # started by a command

# a command, or one of its workers, is about to be imported, which takes a while
if sys.argv[:1] == ["-m"] or _WORKER:
    from espnet2_sv.bin.interrupts import watch_interrupts
    from espnet2_sv.bin.notices import hide_notices

    hide_notices()
    if _WORKER:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command stops its workers
    else:
        watch_interrupts()
