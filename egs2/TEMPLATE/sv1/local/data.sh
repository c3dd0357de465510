#!/usr/bin/env bash
# Makes Kaldi data directories in data/ from a folder of recordings, SPEAKER/FILE, of any
# formats; folders of speakers may have further folders:
#   data/train   wav.scp, utt2spk, spk2utt
#   data/valid   the same and trials; speakers held out of training
#   data/test    the same and trials; other speakers again
# Change it for a corpus in another order. A line of trials is 'enroll_utt test_utt
# target|nontarget'. If a speaker is enrolled with several utterances, the first column
# is a model, and enroll_spk2utt has lines 'model utt1 utt2 ...'.
#
# The folder is CORPUS in the environment (CORPUS=/data/mine ./run.sh) or in db.sh, by
# default downloads/ in the recipe, which may be a link.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
stage=1          # First stage: 1 sets, 2 trials [>=1].
stop_stage=100   # Last stage [>=1].
valid_speakers=  # Validation speakers (default: 15 % of all, at least 2) [>=2].
test_speakers=   # Test speakers (default: 15 % of all, at least 2) [>=2].
seed=0           # Seed of the selection of speakers and trials [>=0].
num_trials=15000 # Target trials, and as many nontarget trials, if there are so many [>=1].
# END OPTIONS

help_message="Usage: $0 [options]

$(describe_options "$0")"

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "unexpected argument: $1 (see --help)"
. ./path.sh
read_db CORPUS

# What the folder holds: names, sizes and times, so that stage 1 is repeated when files
# are added
list_corpus() {
    find -L "${CORPUS}/" ! -type d -printf '%P %s %T@\n' 2> /dev/null | LC_ALL=C sort | cksum
}

if [ "${stage}" -le 1 ] && [ "${stop_stage}" -ge 1 ]; then
    log "stage 1: Training, validation and test sets from ${CORPUS}/"
    [ -d "${CORPUS}" ] || die "${CORPUS}: no such folder; name the one with SPEAKER/FILE by" \
        "CORPUS in the environment or in db.sh, or make this a link to it"
    once data/train/wav.scp --and data/valid/wav.scp --and data/test/wav.scp "${CORPUS}" \
        "$(uninterrupted list_corpus)" "${valid_speakers}" "${test_speakers}" "${seed}" -- \
        python3 -m espnet2_sv.bin.sv_prep_folder --audio_dir "${CORPUS}" --output_dir data \
        --seed "${seed}" ${valid_speakers:+--valid_speakers "${valid_speakers}"} \
        ${test_speakers:+--test_speakers "${test_speakers}"}
fi

if [ "${stage}" -le 2 ] && [ "${stop_stage}" -ge 2 ]; then
    log "stage 2: Trials of validation and test speakers"
    for name in valid test; do
        require_file "data/${name}/utt2spk" "run stage 1 first"
        once "data/${name}/trials" "data/${name}/utt2spk" "${num_trials}" "${seed}" -- \
            python3 -m espnet2_sv.bin.sv_make_trials --utt2spk "data/${name}/utt2spk" \
            --output "data/${name}/trials" --n_target "${num_trials}" \
            --n_nontarget "${num_trials}" --seed "${seed}"
    done
fi
