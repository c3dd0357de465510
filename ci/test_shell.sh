#!/usr/bin/env bash
# Tests of the shell and Perl scripts. Arguments go to bats.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/activate_python.sh

export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-600} # seconds; ends tests that hang
bats "$@" test/shell
