#!/usr/bin/env bash
# Makes Kaldi data directories in data/, for a corpus whose place db.sh names:
#   data/TRAIN   wav.scp, utt2spk, spk2utt
#   data/VALID   the same and trials, of training speakers held out
#   data/TEST    the same and trials
#   data/noise.scp and data/rirs.scp, for augmentation
# A line of trials is 'enroll_utt test_utt target|nontarget'. Where several utterances enrol one
# speaker, trials name models, and a file enroll_spk2utt has lines of 'model utt1 utt2 ...'.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "no positional arguments are understood: $1"
. ./path.sh
. ./db.sh

die "local/data.sh is to be written for this corpus"
