#!/usr/bin/env bash
# Turns a pretrained ASR model into a speaker verifier. All options: ./sv.sh --help
set -e
set -u
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

./sv.sh \
    --sv_task transfer \
    --asr_model "" \
    --train_set train \
    --valid_set valid \
    --test_sets test \
    "$@"
