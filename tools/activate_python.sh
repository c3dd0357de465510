#!/usr/bin/env bash
# Source this: afterwards python and python3 run an environment that imports espnet2_sv.
#
# In this order: (1) the active environment, if it imports espnet2 and espnet2_sv; (2) that of the
# ESPnet checkout which this project lies in, or which ${MAIN_ROOT} names; (3) the project's own,
# tools/venv, made on first use. Where espnet2_sv lies beside this script, that copy is the one
# that is imported.

_sv_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# Whether the program $1 is a Python >= 3.12 that finds the packages $2..., none imported from the
# working directory (-P). Nothing is executed of them, which keeps this under 0.1 s.
_sv_finds() {
    "$1" -P -c '
import sys
from importlib.util import find_spec
sys.exit(sys.version_info < (3, 12) or not all(find_spec(name) for name in sys.argv[1:]))
' "${@:2}" 2> /dev/null
}

_sv_espnet_root() { # the ESPnet checkout around the project, or nothing
    local folder
    for folder in "${MAIN_ROOT:-}" "${_sv_root%/*}" "${_sv_root%/*/*}" "${_sv_root%/*/*/*}"; do
        if [ -d "${folder}/espnet2" ] && [ -e "${folder}/tools/activate_python.sh" ]; then
            (cd "${folder}" && pwd -P)
            return
        fi
    done
}

_sv_use_checkout() { # activates the checkout's environment; fails if it is of no use
    [ -n "${ESPNET_ROOT}" ] || return 1
    local strict=$-
    set +eu # activation scripts of conda are not written for either
    # shellcheck disable=SC1091
    . "${ESPNET_ROOT}/tools/activate_python.sh"
    [[ ${strict} != *e* ]] || set -e
    [[ ${strict} != *u* ]] || set -u
    if ! _sv_finds python3 espnet2; then
        echo "activate_python.sh: the Python of ${ESPNET_ROOT} is older than 3.12 or lacks" \
            "espnet2; using ${_sv_root}/tools/venv" 1>&2
        return 1
    fi
}

_sv_use_own() {
    # </dev/null: set-up asks nothing
    bash "${_sv_root}/tools/setup_env.sh" < /dev/null || return 1
    case ":${PATH}:" in
        *":${_sv_root}/tools/venv/bin:"*) ;;
        *) export PATH=${_sv_root}/tools/venv/bin:${PATH} ;;
    esac
    export VIRTUAL_ENV=${_sv_root}/tools/venv
    unset PYTHONHOME
}

_sv_state() { # what an activation holds for
    echo "${_sv_root} $(command -v python3) $(command -v python) ${PYTHONPATH:-}"
}

_sv_activate() {
    local active
    active=$(command -v python3 || true)
    [ "${ESPNET2_SV_ACTIVATED:-}" != "$(_sv_state)" ] || return 0 # by a script that called this one
    ESPNET_ROOT=$(_sv_espnet_root)
    export ESPNET_ROOT
    if [ "${active}" != "${_sv_root}/tools/venv/bin/python3" ] \
        && _sv_finds python3 espnet2 espnet2_sv && _sv_finds python espnet2 espnet2_sv; then
        :
    elif _sv_use_checkout; then
        :
    else
        _sv_use_own || return 1
    fi
    if [ -f "${_sv_root}/espnet2_sv/__init__.py" ]; then
        case ":${PYTHONPATH:-}:" in
            *":${_sv_root}:"*) ;;
            *) export PYTHONPATH=${_sv_root}${PYTHONPATH:+:${PYTHONPATH}} ;;
        esac
    fi
    ESPNET2_SV_ACTIVATED=$(_sv_state)
    export ESPNET2_SV_ACTIVATED
}

if _sv_activate; then
    _sv_status=0
else
    echo "activate_python.sh: no Python environment for espnet2_sv (see the line above)" 1>&2
    _sv_status=1
fi
unset -f _sv_state _sv_finds _sv_espnet_root _sv_use_checkout _sv_use_own _sv_activate
unset _sv_root
eval "unset _sv_status; return ${_sv_status}"
