#!/usr/bin/env bash
# Trains an ASR model with ESPnet's own commands and packs it as a model-zoo archive,
# for recipes that pretrain on their own corpus. Trains in the folder of the archive. If
# killed, it resumes from the last complete epoch. With other settings or data than
# before, the earlier training and its archive stay until the new ones are complete.
#
#   scripts/pretrain_asr.sh [options] ARCHIVE.zip
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
asr_config=conf/train_asr.yaml # Training configuration.
train_data=data/asr_train      # Training set: wav.scp and text; gives the tokens.
valid_data=                    # Validation set: wav.scp and text (default: train_data).
model_file=valid.acc.best.pth  # Which of the trained weights to pack.
token_list=                    # Tokens (default: the characters of the training texts).
init_weights=                  # Start from these weights (.pth) of another training.
stats_dir=                     # Statistics of another call on the same data (default: make).
asr_args=                      # Further training arguments, e.g. "--max_epoch 20".
config_only=false              # Stop before training: write untrained/config.yaml only.
ngpu=0                         # The number of GPUs ("0" uses CPU).
python=${python:-python3}      # Python interpreter, as for sv.sh.
# END OPTIONS

# shellcheck disable=SC2034  # printed by parse_options.sh
help_message="Usage: $0 [options] ARCHIVE.zip

$(describe_options "$0")"

. utils/parse_options.sh
[ $# -eq 1 ] || die "give one archive to write, e.g. exp/asr_local/asr.zip (see --help)"
archive=$1
valid_data=${valid_data:-${train_data}}
. ./path.sh
. ./cmd.sh

[[ ${archive} == */* ]] || archive=./${archive}
dir=${archive%/*}
tokens=${dir}/tokens.txt
stats=${stats_dir:-${dir}/stats}
statistics=${stats}/train/feats_stats.npz
inputs=("${asr_config}" "${train_data}"/{wav.scp,text} "${valid_data}"/{wav.scp,text})
for file in "${inputs[@]}"; do
    require_file "${file}" "it is needed to train the ASR model"
done
if [ -n "${token_list}" ]; then
    require_file "${token_list}" "correct --token_list"
    tokens=${token_list}
fi
if [ -n "${init_weights}" ]; then
    require_file "${init_weights}" "train that model first, or correct --init_weights"
    inputs+=("${init_weights}")
    # the statistics are those of the new training data
    asr_args+=" --init_param ${init_weights}:::normalize"
fi
if [ -n "${stats_dir}" ]; then
    require_file "${statistics}" "make these statistics first, or correct --stats_dir"
fi
inputs+=("seed ${asr_args}")

tokenize() {
    rm -f "${tokens}.part"
    # shellcheck disable=SC2086,SC2154  # cmd.sh sets the programs
    run_job "${train_cmd}" "${dir}/tokenize.log" \
        ${python} -m espnet2.bin.tokenize_text --token_type char --field 2- \
        --input "${train_data}/text" --output "${tokens}.part" --write_vocabulary true \
        --add_symbol "<blank>:0" --add_symbol "<unk>:1" --add_symbol "<sos/eos>:-1"
    mv "${tokens}.part" "${tokens}"
}

# asr_train NAME OUTPUT_DIR ARGUMENT...: ESPnet's ASR training, also used for
# statistics; the log is NAME.log
asr_train() {
    local name=$1 output=$2
    shift 2
    # shellcheck disable=SC2086,SC2154
    run_job "${cuda_cmd} --gpu ${ngpu}" "${dir}/${name}.log" \
        ${python} -m espnet2.bin.asr_train --config "${asr_config}" \
        --output_dir "${output}" \
        --ngpu "${ngpu}" --token_type char --token_list "${tokens}" \
        --train_data_path_and_name_and_type "${train_data}/wav.scp,speech,sound" \
        --train_data_path_and_name_and_type "${train_data}/text,text,text" \
        --valid_data_path_and_name_and_type "${valid_data}/wav.scp,speech,sound" \
        --valid_data_path_and_name_and_type "${valid_data}/text,text,text" \
        "$@" ${asr_args}
}

collect_statistics() {
    rm -rf "${dir}/.stats.part"
    asr_train stats "${dir}/.stats.part" --collect_stats true \
        --train_shape_file "${train_data}/wav.scp" \
        --valid_shape_file "${valid_data}/wav.scp"
    replace_folder "${dir}/.stats.part" "${stats}"
}

# asr_train_on_statistics NAME OUTPUT_DIR ARGUMENT...
asr_train_on_statistics() {
    asr_train "$@" --train_shape_file "${stats}/train/speech_shape" \
        --valid_shape_file "${stats}/valid/speech_shape" \
        --normalize global_mvn --normalize_conf "stats_file=${statistics}"
}

# is_whole FILE: whether a checkpoint, which is a zip file, was written to its end
is_whole() {
    uninterrupted python3 -c 'import sys, zipfile
sys.exit(zipfile.ZipFile(sys.argv[1]).testzip() is not None)' "$1" 2> /dev/null
}

# train: resumes if killed; starts over if the kill has damaged the checkpoint
train() {
    local part=${dir}/.train.part
    once "${part}/.begun" "${inputs[@]}" "${tokens}" "${statistics}" -- \
        begin_folder "${part}"
    if [ -e "${part}/checkpoint.pth" ] && ! is_whole "${part}/checkpoint.pth"; then
        log "Warning: ${part}/checkpoint.pth is incomplete: starting over"
    fi
    is_whole "${part}/checkpoint.pth" || empty_folder "${part}"
    asr_train_on_statistics train "${part}" --resume true
    require_file "${part}/${model_file}" "--model_file names no file of the training"
    replace_folder "${part}" "${dir}/train"
}

pack() {
    # shellcheck disable=SC2086,SC2154  # cmd.sh sets the programs
    run_job "${train_cmd}" "${dir}/pack.log" \
        ${python} -m espnet2.bin.pack asr --asr_train_config "${dir}/train/config.yaml" \
        --asr_model_file "${dir}/train/${model_file}" --option "${statistics}" \
        --outpath "${archive}.part.zip"
    mv -fT "${archive}.part.zip" "${archive}"
}

log "ASR model: ${archive}; logs: ${dir}/*.log"
# for the whole of it: with other settings, another run would change the statistics
lock "${dir}/.pretrain.lock" "${archive}"
[ -n "${token_list}" ] || once "${tokens}" "${inputs[@]}" -- tokenize
if [ -z "${stats_dir}" ]; then
    once "${stats}" --and "${statistics}" "${inputs[@]}" "${tokens}" -- \
        collect_statistics
fi
if "${config_only}"; then
    once "${dir}/untrained/config.yaml" "${inputs[@]}" "${tokens}" "${statistics}" -- \
        asr_train_on_statistics untrained "${dir}/untrained" --dry_run true
else
    restore_folder "${dir}/train"
    once "${dir}/train" --and "${dir}/train/${model_file}" "${inputs[@]}" "${tokens}" -- \
        train
    once "${archive}" "${dir}/train/config.yaml" "${dir}/train/${model_file}" -- pack
fi
unlock "${dir}/.pretrain.lock"
