#!/usr/bin/env bash
# Sourced in a recipe's folder: puts Python and the scripts of utils/ on PATH.
# Three folders up lies this project, or the ESPnet checkout that the recipe is a part of; both
# have tools/activate_python.sh.
_root=$(cd ../../.. && pwd -P)

# shellcheck disable=SC1091
. "${_root}"/tools/activate_python.sh || return 1
if [ -d "${_root}/espnet2" ]; then
    ESPNET_ROOT=${_root}
    if ! python3 -P -c 'import espnet2_sv' 2> /dev/null; then
        echo "path.sh: ESPnet's Python does not import espnet2_sv: pip install -e its folder" 1>&2
        return 1
    fi
fi

# run.pl, queue.pl, slurm.pl ...: an ESPnet checkout's own if there is one, else the recipe's
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

# Settings of one site or corpus
if [ -f local/path.sh ]; then
    # shellcheck disable=SC1091
    . local/path.sh
fi
true
