#!/usr/bin/env bash
# Runs whole recipes in copies of the project, or those in the files given; slow.
# Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/pytest.sh

set_tests test/recipes "$@"
# in the order of test/recipes/conftest.py, not by the number of tests in a file
run_pytest -m recipe --dist loadfile --no-loadscope-reorder "${tests[@]}" "$@"
