#!/usr/bin/env bash
# All tests: lint, Python unit tests, shell tests, whole recipes. Stops at the first part that fails;
# each tells its seconds, and in the end the slowest tests are named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SECONDS=0
. tools/activate_python.sh
echo "ci/test.sh: the environment is there [${SECONDS} s]"

reports=$(mktemp -d)
trap 'rm -rf "${reports}"' EXIT
seconds=
# part NAME OPTION...: runs ci/NAME.sh, and notes how long it took
part() {
    local start=${SECONDS}
    echo "ci/test.sh: ci/$1.sh"
    if ! bash "ci/$1.sh" "${@:2}"; then
        echo "ci/test.sh: FAILED in ci/$1.sh [${SECONDS} s in all]" 1>&2
        exit 1
    fi
    seconds+="$1 $((SECONDS - start)) s, "
}

part lint
part test_shell --report-formatter junit --output "${reports}"
part test_python --junitxml "${reports}/test_python.xml"
part test_recipes --junitxml "${reports}/test_recipes.xml"
python3 ci/slowest.py "${reports}"/*.xml
echo "ci/test.sh: all passed: ${seconds}${SECONDS} s in all"
