#!/usr/bin/env bash
# Runs all checks: lint, shell tests, Python unit tests, whole recipes. Stops at the
# first part that fails; ends with the duration of each part and the slowest tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SECONDS=0
. tools/activate_python.sh
echo "ci/test.sh: the environment is ready [${SECONDS} s]"

reports=$(mktemp -d)
trap 'rm -rf "${reports}"' EXIT
seconds=
# part NAME OPTION...: runs ci/NAME.sh and measures its duration
part() {
    local start=${SECONDS}
    echo "ci/test.sh: ci/$1.sh"
    if ! bash "ci/$1.sh" "${@:2}"; then
        echo "ci/test.sh: FAILED in ci/$1.sh [${SECONDS} s in total]" 1>&2
        exit 1
    fi
    seconds+="$1 $((SECONDS - start)) s, "
}

part lint
part test_shell --report-formatter junit --output "${reports}"
part test_python --junitxml "${reports}/test_python.xml"
part test_recipes --junitxml "${reports}/test_recipes.xml"
python3 ci/slowest.py "${reports}"/*.xml
echo "ci/test.sh: all passed: ${seconds}${SECONDS} s in total"
