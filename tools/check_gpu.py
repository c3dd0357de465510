#!/usr/bin/env python3
"""Prove that this machine can train speaker models, on its GPU or its CPU.

    . tools/activate_python.sh
    python3 tools/check_gpu.py --json check_gpu.json --output check_gpu.md

The parts are in the folder check_gpu; tools/doc/check_gpu.md says what they check.
"""

import sys

from check_gpu.main import main

if __name__ == "__main__":
    sys.exit(main())
