#!/usr/bin/env bash
# All tests: lint, Python unit tests, shell tests, whole recipes. Stops at the first that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/activate_python.sh

SECONDS=0
for part in lint test_python test_shell test_recipes; do
    echo "ci/test.sh: ci/${part}.sh [elapsed=${SECONDS}s]"
    if ! bash "ci/${part}.sh"; then
        echo "ci/test.sh: FAILED in ci/${part}.sh [elapsed=${SECONDS}s]" 1>&2
        exit 1
    fi
done
echo "ci/test.sh: all passed [elapsed=${SECONDS}s]"
