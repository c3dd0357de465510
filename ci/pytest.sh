#!/usr/bin/env bash
# Sourced by test_python.sh, test_recipes.sh and test_shell.sh.

. tools/activate_python.sh
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# set_cores: sets cores to the number of cores, at most 8
set_cores() {
    cores=$(getconf _NPROCESSORS_ONLN)
    cores=$((cores < 8 ? cores : 8))
}

# run_pytest ARGUMENT...: runs pytest on all cores, at most 8. Its processes are forked
# from one that has already imported torch and ESPnet.
run_pytest() {
    local cores
    set_cores
    python3 egs2/TEMPLATE/sv1/scripts/preloaded_python.py \
        python3 -m pytest --numprocesses "${cores}" --quiet "$@"
}

# set_tests FOLDER ARGUMENT...: sets tests to the folder, or to nothing if one of the
# arguments names something in test/ itself
# shellcheck disable=SC2034  # for the calling script
set_tests() {
    local argument
    tests=("$1")
    for argument in "${@:2}"; do
        if [[ ${argument} =~ (^|/)test/ ]] && [ -e "${argument%%::*}" ]; then
            tests=()
        fi
    done
}
