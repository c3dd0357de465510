#!/usr/bin/env bash
# Puts Python and the scripts of utils/ on PATH. Source this in the folder of a recipe,
# three levels below this project or an ESPnet checkout; both have
# tools/activate_python.sh.
_root=$(cd ../../.. && pwd -P)

_use_checkout() { # as the path.sh of ESPnet's recipes does
    local strict=$- version
    version=$(cat "${_root}/version.txt" "${_root}/espnet/version.txt" 2> /dev/null || true)
    if [[ ${version} =~ ^[0-9]{6} ]] && [ "${BASH_REMATCH[0]}" -lt 202611 ]; then
        echo "path.sh: ${_root} is ESPnet ${BASH_REMATCH[0]}; 202611 or later is needed" 1>&2
        return 1
    fi
    set +eu # conda's activation scripts work with neither
    # shellcheck disable=SC1091
    [ ! -f "${_root}/tools/activate_python.sh" ] || . "${_root}/tools/activate_python.sh"
    # shellcheck disable=SC1091
    [ ! -f "${_root}/tools/extra_path.sh" ] || . "${_root}/tools/extra_path.sh"
    [[ ${strict} != *e* ]] || set -e
    [[ ${strict} != *u* ]] || set -u
    if [ -e "${_root}/espnet2_sv" ]; then # tools/upstream.sh install
        export PYTHONPATH=${_root}${PYTHONPATH:+:${PYTHONPATH}}
    fi
    # without importing them; -P: not from the working directory
    python3 -P -c '
import sys
from importlib.util import find_spec
missing = [name for name in ("torch", "espnet2", "espnet2_sv") if not find_spec(name)]
if sys.version_info < (3, 12):
    sys.exit("path.sh: the Python of this checkout is older than 3.12: make a newer one"
             " in tools/")
if missing:
    sys.exit("path.sh: the Python of this checkout lacks " + ", ".join(missing)
             + ": install it there (espnet2_sv: tools/upstream.sh install, or pip install"
             " -e PROJECT)")'
}

if [ -d "${_root}/espnet2" ]; then
    _use_checkout || return 1
    ESPNET_ROOT=${_root}
else
    # shellcheck disable=SC1091
    . "${_root}"/tools/activate_python.sh || return 1
fi

# run.pl, queue.pl, slurm.pl ...: from the ESPnet checkout if there is one, else from
# the recipe
for _utils in "${ESPNET_ROOT:-}/tools/kaldi/egs/wsj/s5/utils" \
    "${ESPNET_ROOT:-}/egs2/TEMPLATE/asr1/utils" "${PWD}/utils"; do
    if [ -x "${_utils}/run.pl" ]; then
        export PATH=${_utils}:${PATH}
        break
    fi
done
unset _root _utils
unset -f _use_checkout

export LC_ALL=C # sorts as Kaldi expects
export PYTHONUTF8=1
export PYTHONIOENCODING=UTF-8
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# Site- or corpus-specific settings
if [ -f local/path.sh ]; then
    # shellcheck disable=SC1091
    . local/path.sh
fi
true
