"""Command lines, one per verb."""

import sys

if sys.argv[:1] == ["-m"]:  # a command is about to be imported, which takes a while
    from espnet2_sv.bin.interrupts import watch_interrupts

    watch_interrupts()
