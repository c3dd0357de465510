#!/usr/bin/env bash
# Speaker verification on the voices of "Flight of the Amazon Queen": 3.2 hours of real acted speech
# of 30 characters, which Debian's package gives to anyone in a minute (local/data.sh). Each of
# three folds tests characters that it has not trained on; its results are in exp/foldF/RESULTS.md.
#
#   ./run.sh                                all folds, a small Conformer from random weights; CPU
#   ./run.sh --stop_stage 3                 only prepares and checks the data
#   folds=1 ./run.sh                        one fold; every option of sv.sh (./sv.sh --help) can be
#                                           added
set -e
set -u
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

for fold in ${folds:-1 2 3}; do
    ./sv.sh \
        --sv_task scratch \
        --expdir "exp/fold${fold}" \
        --ngpu 0 \
        --nj 2 \
        --train_set "fold${fold}_train" \
        --valid_set "fold${fold}_valid" \
        --test_sets "fold${fold}_test fold${fold}_test4" \
        "$@"
done
