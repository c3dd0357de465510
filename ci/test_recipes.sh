#!/usr/bin/env bash
# Runs whole recipes in copies of the project, or those in the files given; slow.
# Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/pytest.sh

set_tests test/recipes "$@"
run_pytest -m recipe --dist loadfile "${tests[@]}" "$@"
