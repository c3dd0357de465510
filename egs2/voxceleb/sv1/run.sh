#!/usr/bin/env bash
# The experiments of Cai & Li (2024): training on VoxCeleb2, tests on VoxCeleb1-O, E and
# H (cleaned). Set the locations of the corpora in db.sh. All options of sv.sh (./sv.sh
# --help) can be added.
#
#   ./run.sh --sv_task transfer --asr_model TAG
#   ./run.sh --sv_task adaptor --asr_model TAG
#   ./run.sh --sv_task distill --asr_model TAG --sv_config conf/train_sv_distill_ecapa.yaml
#   ./run.sh --sv_task scratch
#
# Each makes a row of RESULTS.md. With --lmft_config conf/train_sv_lmft.yaml,
# large-margin fine-tuning follows and makes another row.
#
# With --train_set voxceleb12_devs, training is on VoxCeleb1 and 2, as in ESPnet's
# voxceleb/spk1, and the test on VoxCeleb1-O only. Results go to exp/voxceleb12.
#
# m4a is decoded for every crop unless --format_args "--convert_containers true"
# converts it once, to wav, which is read three times as fast as flac
# (tools/bench/data.py) but takes twice the disk space (--audio_format flac).
set -e
set -u
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

. scripts/stage_functions.sh

# given NAME: prints the last value of the option --NAME among the arguments
arguments=("$@")
given() {
    local i value=
    for ((i = 0; i + 1 < ${#arguments[@]}; i++)); do
        [ "${arguments[i]//-/_}" != "__$1" ] || value=${arguments[i + 1]}
    done
    echo "${value}"
}

tests="voxceleb1_o voxceleb1_e voxceleb1_h"
results=(--results_layout conf/results.yaml)
last=()
if [ "$(given train_set)" = voxceleb12_devs ]; then
    reason="voxceleb12_devs has the speakers of voxceleb1_e and voxceleb1_h, which"
    reason+=" inflates results"
    if [[ " $(given test_sets) $(given valid_set) " =~ " voxceleb1_"[eh]" " ]]; then
        die "${reason}; use --test_sets voxceleb1_o"
    elif [ -z "$(given test_sets)" ]; then
        log "Testing on voxceleb1_o only: ${reason}"
    fi
    tests=voxceleb1_o
    results=(--expdir exp/voxceleb12) # other systems than those of conf/results.yaml
    last=(--local_data_opts "--voxceleb12_devs true $(given local_data_opts)")
fi

./sv.sh \
    --sv_task transfer \
    --train_set voxceleb2_train \
    --valid_set voxceleb2_valid \
    --test_sets "${tests}" \
    --audio_format wav \
    --score_norm true \
    --cohort_set cohort \
    --calibrate true \
    --calib_set voxceleb2_calib \
    "${results[@]}" \
    "$@" ${last[@]+"${last[@]}"}
