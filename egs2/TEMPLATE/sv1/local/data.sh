#!/usr/bin/env bash
# Makes Kaldi data directories in data/ from a corpus whose location is set in db.sh:
#   data/TRAIN   wav.scp, utt2spk, spk2utt
#   data/VALID   the same and trials; speakers held out of training
#   data/TEST    the same and trials
#   data/noise.scp and data/rirs.scp, for augmentation
# A line of trials is 'enroll_utt test_utt target|nontarget'. If a speaker is enrolled
# with several utterances, the first column is a model, and enroll_spk2utt has lines
# 'model utt1 utt2 ...'.
#
# Or a data directory of a spk1 recipe: link it into data/, see the template's README.
# A variable of db.sh, here CORPUS, names the folder of the corpus on this machine.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
stage=1        # First stage: 1 training and test sets, 2 trials [>=1].
stop_stage=100 # Last stage [>=1].
# END OPTIONS

help_message="Usage: $0 [options]

$(describe_options "$0")"

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "unexpected argument: $1 (see --help)"
. ./path.sh
read_db CORPUS

if [ "${stage}" -le 1 ] && [ "${stop_stage}" -ge 1 ]; then
    log "stage 1: Training, validation and test sets"
    die "write local/data.sh for this corpus"
    # A step that is done again only when its inputs have changed, and after a kill:
    #   [ -n "${CORPUS}" ] || die "set CORPUS in db.sh to the folder of the corpus"
    #   once data/train/wav.scp "${CORPUS}" local/prepare.py -- \
    #       python3 local/prepare.py "${CORPUS}" data
fi

if [ "${stage}" -le 2 ] && [ "${stop_stage}" -ge 2 ]; then
    log "stage 2: Trials of validation speakers"
    once data/valid/trials data/valid/utt2spk -- \
        python3 -m espnet2_sv.bin.sv_make_trials --utt2spk data/valid/utt2spk \
        --output data/valid/trials
fi
