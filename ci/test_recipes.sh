#!/usr/bin/env bash
# Runs whole recipes in copies of the project; slow. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/pytest.sh

run_pytest -m recipe --dist loadfile test/recipes "$@"
