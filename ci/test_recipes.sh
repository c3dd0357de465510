#!/usr/bin/env bash
# Runs whole recipes in copies of the project; minutes. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/activate_python.sh

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
python3 -m pytest -m recipe test/recipes "$@"
