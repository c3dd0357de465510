#!/usr/bin/env bash
# Trains and tests once per line of conf/tuning/TASK.args, one after the other:
#
#   ./ablate.sh TASK [option of run.sh]...      e.g. ./ablate.sh transfer --asr_model TAG
#
# A line holds training options. If killed, call it again to resume, like run.sh.
set -e
set -u
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if [ $# -eq 0 ] || [ ! -f "conf/tuning/$1.args" ]; then
    echo "ablate.sh: error: give a task: $(basename -s .args conf/tuning/*.args | xargs)" 1>&2
    exit 1
fi
task=$1
shift

sed -e 's/#.*//' -e 's/ *$//' -e '/^$/d' "conf/tuning/${task}.args" | while read -r options; do
    ./run.sh --sv_task "${task}" "$@" --sv_args "${options}" < /dev/null
done
