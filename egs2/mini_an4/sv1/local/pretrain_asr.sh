#!/usr/bin/env bash
# Trains a small ASR Conformer with ESPnet's own commands and packs it as a model-zoo archive, to
# stand in for a downloaded model. Its folder of training is beside the archive.
#
#   local/pretrain_asr.sh ARCHIVE.zip
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

asr_config=conf/train_asr.yaml
data=data/asr_train # wav.scp and text, of training speakers only
ngpu=0

. utils/parse_options.sh
[ $# -eq 1 ] || die "give the archive to write, e.g. exp/asr_local/asr.zip"
archive=$1
. ./path.sh
. ./cmd.sh

dir=$(dirname "${archive}")
tokens=${dir}/tokens.txt
inputs=("${asr_config}" "${data}/wav.scp" "${data}/text")

tokenize() {
    run_job "${train_cmd}" "${dir}/tokenize.log" \
        python3 -m espnet2.bin.tokenize_text --token_type char --field 2- \
        --input "${data}/text" --output "${tokens}.part" --write_vocabulary true \
        --add_symbol "<blank>:0" --add_symbol "<unk>:1" --add_symbol "<sos/eos>:-1"
    mv "${tokens}.part" "${tokens}"
}

# asr_train OUTPUT_DIR ARGUMENT...: ESPnet's ASR training, also for collecting statistics
asr_train() {
    local output=$1
    shift
    rm -rf "${output}" # a checkpoint that was being written when its process was killed is no use
    run_job "${cuda_cmd} --gpu ${ngpu}" "${output}.log" \
        python3 -m espnet2.bin.asr_train --config "${asr_config}" --output_dir "${output}" \
        --ngpu "${ngpu}" --token_type char --token_list "${tokens}" \
        --train_data_path_and_name_and_type "${data}/wav.scp,speech,sound" \
        --train_data_path_and_name_and_type "${data}/text,text,text" \
        --valid_data_path_and_name_and_type "${data}/wav.scp,speech,sound" \
        --valid_data_path_and_name_and_type "${data}/text,text,text" "$@"
}

pack() {
    run_job "${train_cmd}" "${dir}/pack.log" \
        python3 -m espnet2.bin.pack asr --asr_train_config "${dir}/train/config.yaml" \
        --asr_model_file "${dir}/train/valid.acc.best.pth" \
        --option "${dir}/stats/train/feats_stats.npz" --outpath "${archive}.part.zip"
    mv "${archive}.part.zip" "${archive}"
}

log "ASR model: ${archive}; logs: ${dir}/*.log"
once "${tokens}" "${inputs[@]}" -- tokenize
once "${dir}/stats/train/feats_stats.npz" "${inputs[@]}" "${tokens}" -- \
    asr_train "${dir}/stats" --collect_stats true \
    --train_shape_file "${data}/wav.scp" --valid_shape_file "${data}/wav.scp"
once "${dir}/train/valid.acc.best.pth" "${inputs[@]}" "${tokens}" -- \
    asr_train "${dir}/train" \
    --train_shape_file "${dir}/stats/train/speech_shape" \
    --valid_shape_file "${dir}/stats/valid/speech_shape" \
    --normalize global_mvn --normalize_conf "stats_file=${dir}/stats/train/feats_stats.npz"
once "${archive}" "${dir}/train/config.yaml" "${dir}/train/valid.acc.best.pth" -- pack
