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
for part in lint test_python test_shell test_recipes; do
    echo "ci/test.sh: ci/${part}.sh"
    start=${SECONDS}
    case "${part}" in
        lint) options=() ;;
        test_shell) options=(--report-formatter junit --output "${reports}") ;;
        *) options=(--junitxml "${reports}/${part}.xml") ;;
    esac
    if ! bash "ci/${part}.sh" ${options[@]+"${options[@]}"}; then
        echo "ci/test.sh: FAILED in ci/${part}.sh [${SECONDS} s in all]" 1>&2
        exit 1
    fi
    seconds+="${part} $((SECONDS - start)) s, "
done
python3 ci/slowest.py "${reports}"/*.xml
echo "ci/test.sh: all passed: ${seconds}${SECONDS} s in all"
