#!/usr/bin/env bash
# Makes a fold's ASR models: exp/foldF/asr/asr.zip, trained on the fold's training characters;
# asr_half/asr.zip, in the middle of that training; asr_random/seedS.zip, before it.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
fold=1
seeds="0 1 2"                 # Of the random models.
expdir=exp
asr_config=conf/train_asr.yaml
asr_args=                     # Further arguments of training.
# END OPTIONS

help_message="Usage: $0 [options]

$(describe_options "$0")"

. utils/parse_options.sh
[ $# -eq 0 ] || die "no positional arguments are understood: $1 (see --help)"
. ./path.sh
. ./cmd.sh

dir=${expdir}/fold${fold}
trained=${dir}/asr/asr.zip
scripts/pretrain_asr.sh --asr_config "${asr_config}" --asr_args "${asr_args}" \
    --train_data "data/fold${fold}_asr_train" --valid_data "data/fold${fold}_asr_dev" \
    --model_file valid.cer_ctc.best.pth "${trained}"

# pack_half ARCHIVE CHECKPOINT
pack_half() {
    run_job "${train_cmd}" "${dir}/asr_half/pack.log" python3 -m espnet2.bin.pack asr \
        --asr_train_config "${dir}/asr/train/config.yaml" --asr_model_file "$2" \
        --option "${dir}/asr/stats/train/feats_stats.npz" --outpath "$1.part.zip"
    mv "$1.part.zip" "$1"
}

# keep_nbest_models of the configuration is as large as max_epoch, so that this one is there
epochs=$(sed -n 's/^max_epoch: //p' "${dir}/asr/train/config.yaml")
half=${dir}/asr/train/$(((epochs + 1) / 2))epoch.pth
require_file "${half}" "keep_nbest_models of ${asr_config} must keep all epochs"
once "${dir}/asr_half/asr.zip" "${half}" "${trained}" -- \
    pack_half "${dir}/asr_half/asr.zip" "${half}"

for seed in ${seeds}; do
    once "${dir}/asr_random/seed${seed}.zip" "${trained}" "${seed}" -- \
        run_job "${train_cmd}" "${dir}/asr_random/seed${seed}.log" python3 local/random_asr.py \
        --asr "${trained}" --output "${dir}/asr_random/seed${seed}.zip" --seed "${seed}"
done

# unpack MODEL: for the trainings that start from it, several of which run at once
unpack() {
    ./sv.sh --stage 2 --stop_stage 2 --expdir "${dir}" --asr_model "$1" --ngpu 0 \
        --train_set "fold${fold}_train" --valid_set "fold${fold}_valid" --test_sets "fold${fold}_test"
    touch "$1.unpacked"
}

for model in "${trained}" "${dir}/asr_half/asr.zip" "${dir}"/asr_random/seed*.zip; do
    once "${model}.unpacked" "${model}" -- unpack "${model}"
done
