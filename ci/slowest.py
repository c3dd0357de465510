#!/usr/bin/env python3
"""Lists the slowest tests in JUnit reports: slowest.py REPORT.xml ..."""

import sys
import xml.etree.ElementTree as ET

SHOWN = 10


def main(paths: list[str]) -> None:
    """Print one line per test; its time includes fixtures that it is first to use."""
    cases = [case for path in paths for case in ET.parse(path).iter("testcase")]
    cases.sort(key=lambda case: -float(case.get("time", 0)))
    print(f"the {SHOWN} slowest of {len(cases)} tests:")
    for case in cases[:SHOWN]:
        print(
            f"{float(case.get('time', 0)):7.1f} s  {case.get('classname')} "
            f" {case.get('name')}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
