#!/usr/bin/env bash
# Python unit tests; warnings are errors (pyproject.toml). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/pytest.sh

run_pytest -m "not recipe" --dist worksteal "$@"
