#!/usr/bin/env bash
# Puts Python and the scripts of utils/ on PATH. Source this in the folder of a recipe,
# three levels below this project or an ESPnet checkout; both have
# tools/activate_python.sh.
_root=$(cd ../../.. && pwd -P)

# shellcheck disable=SC1091
. "${_root}"/tools/activate_python.sh || return 1
if [ -d "${_root}/espnet2" ]; then
    ESPNET_ROOT=${_root}
    if ! python3 -P -c 'import espnet2_sv' 2> /dev/null; then
        echo "path.sh: espnet2_sv is not installed in ESPnet's Python: pip install -e PROJECT" 1>&2
        return 1
    fi
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
