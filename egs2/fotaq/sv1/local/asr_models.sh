#!/usr/bin/env bash
# Makes ASR models of one network in four qualities:
#   <expdir>/foldF/asr_random/seedS.zip   untrained
#   <expdir>/foldF/asr_early/asr.zip      a sixth of the way to the next
#   <expdir>/foldF/asr_real/asr.zip       trained on the training characters of the fold
#   <expdir>/foldF/asr/asr.zip            the same, but after <expdir>/asr_synthetic,
#                                         trained on data/synthetic for all folds
# Without synthetic speech, there is no asr_real: asr is trained as it would be.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
fold=1                         # [1|2|3]
kind=trained                   # real: and early [untrained|synthetic|trained|real].
synthetic=true                 # Begin with synthetic speech.
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
weights=valid.cer_ctc.best.pth
# from random weights on the speech of the game alone
base=asr_real
"${synthetic}" || base=asr
# More speech: more steps at a higher rate. Its speed and pitch vary as they are
synthetic_args="--max_epoch 60 --keep_nbest_models 1 --optim_conf lr=0.002"
synthetic_args+=" --scheduler_conf max_lr=0.002 --scheduler_conf total_steps=6000"
synthetic_args+=" --preprocessor_conf data_aug_prob=0.0"

# pretrain FOLDER TRAIN_SET DEV_SET ARGUMENTS [OPTION]...
pretrain() {
    scripts/pretrain_asr.sh --asr_config "${asr_config}" --asr_args "$4 ${asr_args}" \
        --token_list conf/tokens.txt --train_data "data/$2" --valid_data "data/$3" \
        --model_file "${weights}" "${@:5}" "$1/asr.zip"
}

# pretrain_real NAME ARGUMENTS [OPTION]...: on the training characters of the fold
pretrain_real() {
    pretrain "${dir}/$1" "fold${fold}_asr_train" "fold${fold}_asr_dev" "${@:2}"
}

# pack ARCHIVE CONFIG WEIGHTS
pack() {
    run_job "${train_cmd}" "${1%.zip}.pack.log" python3 -m espnet2.bin.pack asr \
        --asr_train_config "$2" --asr_model_file "$3" \
        --option "${dir}/${base}/stats/train/feats_stats.npz" --outpath "$1.part.zip"
    mv "$1.part.zip" "$1"
}

# pack_random ARCHIVE CONFIG SEED
pack_random() {
    local drawn=${1%.zip}.pth
    run_job "${train_cmd}" "${1%.zip}.log" \
        python3 local/random_asr.py --config "$2" --seed "$3" --output "${drawn}"
    pack "$1" "$2" "${drawn}"
    rm "${drawn}"
}

# unpack MODEL: unpacks it for the trainings that start from it, which run in parallel
unpack() {
    ./sv.sh --stage 2 --stop_stage 2 --expdir "${dir}" --asr_model "$1" --ngpu 0 \
        --train_set "fold${fold}_train" --valid_set "fold${fold}_valid" \
        --test_sets "fold${fold}_test"
    touch "$1.unpacked"
}

models=()
case "${kind}" in
    untrained)
        pretrain_real "${base}" "" --config_only true
        config=${dir}/${base}/untrained/config.yaml
        for seed in ${seeds}; do
            models+=("${dir}/asr_random/seed${seed}.zip")
            once "${models[-1]}" "${config}" "${seed}" -- \
                pack_random "${models[-1]}" "${config}" "${seed}"
        done
        ;;
    synthetic)
        # not chosen on real speech: a fold's is the test speech of another fold
        pretrain "${expdir}/asr_synthetic" synthetic synthetic_dev "${synthetic_args}"
        ;;
    trained)
        models=("${dir}/asr/asr.zip")
        if "${synthetic}"; then
            pretrain_real asr "--keep_nbest_models 1" --stats_dir "${dir}/asr_real/stats" \
                --init_weights "${expdir}/asr_synthetic/train/${weights}"
        else
            pretrain_real asr ""
        fi
        ;;
    real)
        models=("${dir}/asr_real/asr.zip" "${dir}/asr_early/asr.zip")
        pretrain_real asr_real ""
        # exists because keep_nbest_models of the configuration is as large as max_epoch
        config=${dir}/asr_real/train/config.yaml
        epochs=$(uninterrupted python3 scripts/read_config.py get "${config}" max_epoch)
        early=${dir}/asr_real/train/$(((epochs + 5) / 6))epoch.pth
        require_file "${early}" "keep_nbest_models of ${asr_config} must keep all epochs"
        once "${models[1]}" "${early}" "${models[0]}" -- \
            pack "${models[1]}" "${config}" "${early}"
        ;;
esac
for model in ${models[@]+"${models[@]}"}; do
    once "${model}.unpacked" "${model}" -- unpack "${model}"
done
