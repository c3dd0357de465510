#!/usr/bin/env bash
# Prepares data/ from VoxCeleb, MUSAN and RIRS_NOISES, whose folders db.sh names:
#   voxceleb2_train   VoxCeleb2 dev without the held-out speakers, plus --extra
#   voxceleb12_devs   the same and VoxCeleb1 dev, with --voxceleb12_devs true
#   voxceleb2_valid   speakers held out for validation, and trials
#   voxceleb2_calib   speakers held out for calibration, and trials balanced by duration
#   voxceleb1_o, voxceleb1_e, voxceleb1_h   published trials, and their utterances
#   cohort            some utterances of each training speaker, for score normalisation
#   musan_music.scp, musan_noise.scp, musan_speech.scp, rirs.scp   for augmentation
#   held_out/         lists of the held-out speakers; --held_out reuses such a folder
# Archives are unpacked into downloads/ unless the extracted folders exist.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
stage=1                # First stage: 1 noises, 2 VoxCeleb, 3 held-out trials [>=1].
stop_stage=100         # Last stage [>=1].
train_on=voxceleb2     # [voxceleb2|voxceleb1] (dev; then only o is a fair test).
voxceleb12_devs=false  # Also make voxceleb12_devs; then only o is a fair test.
test_lists="o e h"     # Published trial lists to prepare: o, e, h, or none [any].
cleaned=true           # Whether to use the cleaned lists.
trial_lists=           # Folder with the lists (default: fetched from VoxCeleb's site).
valid_speakers=50      # Training speakers held out for validation.
valid_utterances=20    # Maximum utterances of each of them.
valid_trials=5000      # Target trials for validation, and as many nontarget trials.
calib_speakers=100     # Training speakers held out for calibration.
calib_utterances=30    # Maximum utterances of each of them.
calib_trials=15000     # Target trials for calibration, and as many nontarget trials.
held_out=              # Folder with lists valid_speakers and calib_speakers to reuse.
cohort_utterances=20   # Maximum utterances per training speaker in the cohort.
extra=                 # More training speakers: Kaldi folder or SPEAKER/VIDEO/UTT.wav.
extra_prefix=          # Prefix of their speaker names.
exclude=               # File of utterances to leave out, one per line.
rooms="small medium"   # Simulated rooms of RIRS_NOISES: small, medium, large.
allow_incomplete=false # Continue if speakers or files are missing.
seed=0                 # Seed of all random selections.
nj=8                   # Threads that list files, and processes that check audio [>=1].
# END OPTIONS

help_message="Usage: $0 [options]

$(describe_options "$0")"

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "no positional arguments are understood: $1 (see --help)"
. ./path.sh
. ./cmd.sh
require_writable downloads "the recipe's folder"
require_writable data "the recipe's folder"

# run_and_show NAME COMMAND...: runs the command as a job and prints its log
run_and_show() {
    local logfile=downloads/logs/$1.log status=0
    submit "${train_cmd} --num-threads ${nj}" "${logfile}" "${@:2}" || status=$?
    [ "${status}" -ne 130 ] || return 130 # Ctrl-C
    grep -v -e '^# ' -e '^#$' "${logfile}" || true
    return "${status}"
}

# make_trials NAME TRIALS [OPTION...]: trials of a set of held-out speakers
make_trials() {
    local set=data/$1
    python3 -m espnet2_sv.bin.sv_check_data "${set}" --utt2dur "${set}/utt2dur" \
        --nj "${nj}"
    python3 -m espnet2_sv.bin.sv_make_trials --utt2spk "${set}/utt2spk" \
        --output "${set}/trials" \
        --n_target "$2" --n_nontarget "$2" --seed "${seed}" "${@:3}"
}

# place_of NAME ARCHIVE: prints the folder NAME in ${VOXCELEB}, or ${VOXCELEB} if the
# archives are there
place_of() {
    if compgen -G "${VOXCELEB}/$2" > /dev/null; then
        echo "${VOXCELEB}"
    else
        echo "${VOXCELEB}/$1"
    fi
}

# Locations, by the names of this project or of ESPnet
read_db VOXCELEB VOXCELEB1 VOXCELEB2 MUSAN RIRS RIR
VOXCELEB=${VOXCELEB:-downloads}
VOXCELEB1=${VOXCELEB1:-$(place_of voxceleb1 "vox1_*_wav*")}
VOXCELEB2=${VOXCELEB2:-$(place_of voxceleb2 "vox2_*aac*")}
MUSAN=${MUSAN:-downloads/musan}
RIRS=${RIRS:-${RIR:-downloads/RIRS_NOISES}}

if [ "${stage}" -le 1 ] && [ "${stop_stage}" -ge 1 ]; then
    log "stage 1: Noises and room impulse responses: ${MUSAN}, ${RIRS}"
    noises=(--musan "${MUSAN}" --rirs "${RIRS}" --allow_incomplete "${allow_incomplete}")
    # shellcheck disable=SC2206
    noises+=(--rooms ${rooms})
    once data/rirs.scp "${noises[@]}" -- run_and_show prep_noises \
        python3 -m espnet2_sv.bin.sv_prep_noises "${noises[@]}" --output_dir data
fi

if [ "${stage}" -le 2 ] && [ "${stop_stage}" -ge 2 ]; then
    log "stage 2: Training, held-out and test sets: ${VOXCELEB1}, ${VOXCELEB2}"
    # once made, it is made again with voxceleb2_valid, whose speakers it must not have
    if [ -e data/voxceleb12_devs/wav.scp ] && [ "${train_on}" = voxceleb2 ]; then
        voxceleb12_devs=true
    fi
    # shellcheck disable=SC2206
    options=(--voxceleb1 "${VOXCELEB1}" --voxceleb2 "${VOXCELEB2}"
        --train_on "${train_on}" --voxceleb12_devs "${voxceleb12_devs}"
        --test_lists ${test_lists} --cleaned "${cleaned}" --trial_lists "${trial_lists}"
        --valid_speakers "${valid_speakers}" --valid_utterances "${valid_utterances}"
        --calib_speakers "${calib_speakers}" --calib_utterances "${calib_utterances}"
        --held_out "${held_out}" --cohort_utterances "${cohort_utterances}"
        --extra "${extra}" --extra_prefix "${extra_prefix}" --exclude "${exclude}"
        --allow_incomplete "${allow_incomplete}" --seed "${seed}")
    files=("${exclude}" "${held_out}"/{valid,calib}_speakers "${extra}"/{wav.scp,utt2spk})
    # the cohort and the lists in held_out are of the last training corpus
    outputs=(data/cohort/wav.scp --and "data/${train_on}_train/wav.scp")
    once "${outputs[@]}" "${options[@]}" "${files[@]}" -- \
        run_and_show prep_voxceleb python3 -m espnet2_sv.bin.sv_prep_voxceleb \
        "${options[@]}" --output_dir data --nj "${nj}"
fi

if [ "${stage}" -le 3 ] && [ "${stop_stage}" -ge 3 ]; then
    valid=${train_on}_valid calib=${train_on}_calib
    log "stage 3: Trials of held-out speakers: data/${valid}, data/${calib}"
    once "data/${valid}/trials" "data/${valid}/wav.scp" "${valid_trials}" "${seed}" -- \
        make_trials "${valid}" "${valid_trials}"
    once "data/${calib}/trials" "data/${calib}/wav.scp" "${calib_trials}" "${seed}" -- \
        make_trials "${calib}" "${calib_trials}" --utt2dur "data/${calib}/utt2dur"
fi
