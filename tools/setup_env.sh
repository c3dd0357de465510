#!/usr/bin/env bash
# Creates the Python environment of the project, tools/venv, with the tested package
# versions.
#
#   tools/setup_env.sh [--python PROGRAM]
#
# Does nothing if the environment is up to date with pyproject.toml, the constraints and
# the location of the project. A set-up that was killed is repeated; a second caller
# waits for the first.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${root}/tools/venv
marker=${venv}/.complete # written last: an environment without it is incomplete

fail() {
    echo "setup_env.sh: $*" 1>&2
    exit 1
}

wanted() { # prints a checksum of what the environment depends on
    {
        echo "${root}"
        sed '/^\[tool\./,$d' "${root}/pyproject.toml" # the package's metadata
        cat "${root}/tools/constraints.txt"
    } | cksum
}

complete() {
    [ -x "${venv}/bin/python3" ] && [ "$(cat "${marker}" 2> /dev/null)" = "$(wanted)" ]
}

suits() { # prints the path of the Python $1 if the pinned packages support it
    "$1" -c '
import sys
sys.exit(print(sys.executable) if (3, 12) <= sys.version_info[:2] <= (3, 13) else 1)' 2> /dev/null
}

find_python() {
    local candidate
    cd "${root}" # pyenv reads .python-version here
    for candidate in ${1:-python3.12 python3 python3.13}; do
        if suits "${candidate}"; then
            return
        fi
    done
    [ -z "${1:-}" ] || fail "$1 is not a working Python 3.12 or 3.13"
    fail "no Python 3.12 found; get it with 'apt-get install python3.12-venv', 'pyenv install" \
        "3.12', 'uv python install 3.12' or 'conda create -n py312 python=3.12', put it on PATH" \
        "or give --python PROGRAM"
}

build() {
    local python=$1 log=${root}/tools/venv/setup.log
    rm -rf "${venv}"
    "${python}" -m venv "${venv}" > /dev/null 2>&1 \
        || fail "${python} -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"
    local pip=("${venv}/bin/python" -m pip --disable-pip-version-check)
    if ! "${pip[@]}" install --progress-bar off -c "${root}/tools/constraints.txt" \
        -e "${root}[train,export,test]" > "${log}" 2>&1; then
        tail -n 20 "${log}" 1>&2
        fail "pip failed (end of its output above); free disk space:" \
            "$(df -Pk "${root}" | awk 'NR == 2 { printf "%.0f GB", $4 / 1e6 }')"
    fi
    wanted > "${marker}.part"
    mv "${marker}.part" "${marker}"
}

python=
while [ $# -gt 0 ]; do
    case "$1" in
        --python) python=${2:?setup_env.sh: --python requires a program} && shift 2 ;;
        -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit 0 ;;
        *) fail "unknown option $1 (--help lists them)" ;;
    esac
done

complete && exit 0
[ -w "${root}/tools" ] || fail "${root}/tools is not writable; is the disk full or read-only?"

# The lock is on the open folder, so it ends with the processes that hold it.
exec 9< "${root}/tools"
if ! flock --nonblock 9; then
    echo "setup_env.sh: another set-up is running; waiting for it" 1>&2
    flock 9 || fail "cannot lock ${root}/tools; is it on a file system without locks?"
fi
complete && exit 0

found=$(find_python "${python}")
echo "setup_env.sh: creating ${venv} with ${found} (once; about 2 minutes, 6 GB)" 1>&2
build "${found}"
