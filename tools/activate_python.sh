#!/usr/bin/env bash
# Source this to activate a Python environment with espnet2_sv.
#
# It is the first of: (1) the active environment, if it has espnet2 and espnet2_sv; (2)
# the environment of the ESPnet checkout that contains this project, or of ${MAIN_ROOT};
# (3) tools/venv, created on first use. The copy of espnet2_sv next to tools/ takes
# precedence over an installed one.

_sv_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# Whether the program $1 is a Python >= 3.12 with the packages $2..., not counting the
# working directory (-P). Does not import them, so this takes less than 0.1 s.
_sv_finds() {
    "$1" -P -c '
import sys
from importlib.util import find_spec
sys.exit(sys.version_info < (3, 12) or not all(find_spec(name) for name in sys.argv[1:]))
' "${@:2}" 2> /dev/null
}

_sv_espnet_root() { # prints the ESPnet checkout that contains the project, if any
    local folder
    for folder in "${MAIN_ROOT:-}" "${_sv_root%/*}" "${_sv_root%/*/*}" "${_sv_root%/*/*/*}"; do
        if [ -d "${folder}/espnet2" ] && [ -e "${folder}/tools/activate_python.sh" ]; then
            (cd "${folder}" && pwd -P)
            return
        fi
    done
}

_sv_use_checkout() { # activates the checkout's environment; fails if it is unusable
    [ -n "${ESPNET_ROOT}" ] || return 1
    local strict=$-
    set +eu # conda's activation scripts work with neither
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
    bash "${_sv_root}/tools/setup_env.sh" < /dev/null || return 1
    case ":${PATH}:" in
        *":${_sv_root}/tools/venv/bin:"*) ;;
        *) export PATH=${_sv_root}/tools/venv/bin:${PATH} ;;
    esac
    export VIRTUAL_ENV=${_sv_root}/tools/venv
    unset PYTHONHOME
}

_sv_state() { # prints what an activation depends on
    echo "${_sv_root} $(command -v python3) $(command -v python) ${PYTHONPATH:-}"
}

_sv_activate() {
    local active
    active=$(command -v python3 || true)
    [ "${ESPNET2_SV_ACTIVATED:-}" != "$(_sv_state)" ] || return 0 # already active
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
    echo "activate_python.sh: no Python environment for espnet2_sv (see above)" 1>&2
    _sv_status=1
fi
unset -f _sv_state _sv_finds _sv_espnet_root _sv_use_checkout _sv_use_own _sv_activate
unset _sv_root
eval "unset _sv_status; return ${_sv_status}"
