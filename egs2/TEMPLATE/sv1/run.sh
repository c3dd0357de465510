#!/usr/bin/env bash
# Trains a speaker verifier on the data sets of local/data.sh and evaluates it:
#   ./run.sh --asr_model TAG          from a pretrained ASR model (transfer)
#   ./run.sh --sv_task scratch        from random weights
#   ./run.sh --init_sv SOURCE         from a trained speaker model (fine-tuning)
# --ngpu 0 trains without a GPU. All options: ./sv.sh --help
set -e
set -u
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

./sv.sh \
    --train_set train \
    --valid_set valid \
    --test_sets test \
    "$@"
