#!/usr/bin/env bash
# Python unit tests; warnings are errors (pyproject.toml). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/activate_python.sh

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
python3 -m pytest -m "not recipe" "$@"
