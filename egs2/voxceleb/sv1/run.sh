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
# m4a is decoded for every crop unless --format_args "--convert_containers true"
# converts it once, to wav, which is read three times as fast as flac
# (tools/bench/data.py) but takes twice the disk space (--audio_format flac).
set -e
set -u
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

./sv.sh \
    --sv_task transfer \
    --train_set voxceleb2_train \
    --valid_set voxceleb2_valid \
    --test_sets "voxceleb1_o voxceleb1_e voxceleb1_h" \
    --audio_format wav \
    --score_norm true \
    --cohort_set cohort \
    --calibrate true \
    --calib_set voxceleb2_calib \
    --results_layout conf/results.yaml \
    "$@"
