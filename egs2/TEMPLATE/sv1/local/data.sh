#!/usr/bin/env bash
# Makes Kaldi data directories in data/ from a corpus whose location is set in db.sh:
#   data/TRAIN   wav.scp, utt2spk, spk2utt
#   data/VALID   the same and trials; speakers held out of training
#   data/TEST    the same and trials
#   data/noise.scp and data/rirs.scp, for augmentation
# A line of trials is 'enroll_utt test_utt target|nontarget'. If a speaker is enrolled
# with several utterances, the first column is a model, and enroll_spk2utt has lines
# 'model utt1 utt2 ...'.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "unexpected argument: $1"
. ./path.sh
. ./db.sh

die "write local/data.sh for this corpus"
