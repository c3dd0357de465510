#!/usr/bin/env bash
# Tests of the shell and Perl scripts, or those in the files given. Arguments go to bats.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/pytest.sh

export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-600} # seconds; ends tests that hang
set_tests test/shell "$@"
set_cores
# Within a file only: across files, bats needs GNU parallel. The tests spend a third of
# their time waiting, hence one more than there are cores.
bats --jobs "$((cores + 1))" --no-parallelize-across-files "$@" "${tests[@]}"
