#!/usr/bin/env bash
# Makes the ASR models of a fold in exp/foldF: asr_random/seedS.zip, untrained;
# asr/asr.zip, trained on the training characters of the fold; asr_half/asr.zip, halfway
# through that training.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
fold=1                         # [1|2|3]
kind=all                       # trained includes half-trained [untrained|trained|all].
half=true                      # Make the half-trained model.
seeds="0 1 2"                  # Seeds of the untrained models [numbers].
expdir=exp                     # Directory of experiments.
asr_config=conf/train_asr.yaml # Training configuration.
asr_args=                      # Further training arguments.
# END OPTIONS

help_message="Usage: $0 [options]

$(describe_options "$0")"

. utils/parse_options.sh
[ $# -eq 0 ] || die "unexpected argument: $1 (see --help)"
. ./path.sh
. ./cmd.sh

dir=${expdir}/fold${fold}

pretrain() {
    scripts/pretrain_asr.sh --asr_config "${asr_config}" --asr_args "${asr_args}" \
        --train_data "data/fold${fold}_asr_train" \
        --valid_data "data/fold${fold}_asr_dev" \
        --model_file valid.cer_ctc.best.pth "$@" "${dir}/asr/asr.zip"
}

# pack ARCHIVE CONFIG WEIGHTS
pack() {
    run_job "${train_cmd}" "${1%.zip}.pack.log" python3 -m espnet2.bin.pack asr \
        --asr_train_config "$2" --asr_model_file "$3" \
        --option "${dir}/asr/stats/train/feats_stats.npz" --outpath "$1.part.zip"
    mv "$1.part.zip" "$1"
}

# pack_random ARCHIVE CONFIG SEED
pack_random() {
    local weights=${1%.zip}.pth
    run_job "${train_cmd}" "${1%.zip}.log" \
        python3 local/random_asr.py --config "$2" --seed "$3" --output "${weights}"
    pack "$1" "$2" "${weights}"
    rm "${weights}"
}

# unpack MODEL: unpacks it for the trainings that start from it, which run in parallel
unpack() {
    ./sv.sh --stage 2 --stop_stage 2 --expdir "${dir}" --asr_model "$1" --ngpu 0 \
        --train_set "fold${fold}_train" --valid_set "fold${fold}_valid" \
        --test_sets "fold${fold}_test"
    touch "$1.unpacked"
}

models=()
if [ "${kind}" != trained ]; then
    pretrain --config_only true
    config=${dir}/asr/untrained/config.yaml
    for seed in ${seeds}; do
        models+=("${dir}/asr_random/seed${seed}.zip")
        once "${models[-1]}" "${config}" "${seed}" -- \
            pack_random "${models[-1]}" "${config}" "${seed}"
    done
fi
if [ "${kind}" != untrained ]; then
    models+=("${dir}/asr/asr.zip")
    pretrain
    if "${half}"; then
        # exists because keep_nbest_models of the configuration is as large as max_epoch
        config=${dir}/asr/train/config.yaml
        epochs=$(uninterrupted python3 scripts/read_config.py get "${config}" max_epoch)
        weights=${dir}/asr/train/$(((epochs + 1) / 2))epoch.pth
        require_file "${weights}" "keep_nbest_models of ${asr_config} must keep all epochs"
        models+=("${dir}/asr_half/asr.zip")
        once "${models[-1]}" "${weights}" "${dir}/asr/asr.zip" -- \
            pack "${models[-1]}" "${config}" "${weights}"
    fi
fi
for model in "${models[@]}"; do
    once "${model}.unpacked" "${model}" -- unpack "${model}"
done
