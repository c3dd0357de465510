#!/usr/bin/env bash
# The embedded default: from an ASR Conformer to a speaker verifier (transfer), a speaker adaptor on
# the same ASR model (adaptor), a student that it teaches (distill), and the transfer network from
# random weights (scratch), on the AN4 speech that ESPnet's wheel carries.
#
# Eight utterances of five speakers prove the way, not the accuracy: the error rates of
# exp/RESULTS.md say nothing about a model. Validation segments come from the training speakers,
# because five speakers are too few to hold any out. Takes a few minutes on two CPU cores.
#
#   ./run.sh                                  trains a small ASR Conformer to start from
#   ./run.sh --asr_model TAG_OR_ZIP_OR_DIR    starts from that one
#   tasks=transfer ./run.sh --stage 6         any option of sv.sh (./sv.sh --help), one variant
set -e
set -u
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

for sv_task in ${tasks:-transfer adaptor distill scratch}; do
    ./sv.sh \
        --sv_task "${sv_task}" \
        --local_asr_script scripts/pretrain_asr.sh \
        --ngpu 0 \
        --nj 2 \
        --train_set train \
        --valid_set valid \
        --test_sets test \
        --noise_scp data/noise.scp \
        --rir_scp data/rirs.scp \
        --score_norm true \
        --top_n 3 \
        --calibrate true \
        --asr_sets asr_train \
        "$@"
done
