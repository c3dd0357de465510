#!/usr/bin/env bash
# Functions for training, sourced by sv.sh. They use its options.
# shellcheck disable=SC2154,SC2086  # options of sv.sh; ${python} may be several words

# has_begun EXP: whether an epoch has ended (file names: espnet2_sv/train/checkpoint.py)
has_begun() {
    [ -e "$1/checkpoint.safe.pth" ] \
        || { [ -e "$1/checkpoint.pth" ] && [ ! -e "$1/checkpoint.first_epoch" ]; }
}

# begin_training EXP SETTINGS: records the settings; exits if EXP was started with
# others
begin_training() {
    local changes
    if has_begun "$1" && ! changes=$(diff "$1/.settings" - <<< "$2" 2>&1); then
        grep '^[<>]' <<< "${changes}" | head -n 4 1>&2 || true
        die "$1 was started with other settings or data (see above): choose another" \
            "--sv_tag, or delete it"
    fi
    write_file "$1/.settings" echo "$2"
}

# train EXP CONFIG ARGUMENTS INIT...: starts or resumes a training; INIT are further
# arguments
train() {
    local exp=$1 config=$2 arguments=$3 jobname=$1/train.log quoted
    shift 3
    # SGE does not allow "/" in job names
    [[ ${cuda_cmd} != *queue* ]] || jobname=${exp##*/}
    log "training in ${exp}; log: ${exp}/train.log"
    rm -f "${exp}/hub.json" # stage 10 has uploaded other weights
    quote_words ${python} -m "espnet2_sv.bin.${train_module}" --config "${config}" \
        --output_dir "${exp}" --resume true --sample_rate "${sample_rate}" \
        --train_data_path_and_name_and_type \
        "${data_feats}/${train_set}/wav.scp,speech,sound" \
        --valid_data_path_and_name_and_type \
        "${data_feats}/${valid_set}/wav.scp,speech,sound" \
        --spk2utt "${data_feats}/${train_set}/spk2utt" \
        --valid_trials "${data_feats}/${valid_set}/trials" \
        ${noise_scp:+--noise_scp "${noise_scp}"} ${rir_scp:+--rir_scp "${rir_scp}"} \
        "$@" ${arguments}
    ${python} -m espnet2.bin.launch --cmd "${cuda_cmd} --name ${jobname}" \
        --log "${exp}/train.log" --ngpu "${ngpu}" --num_nodes "${num_nodes}" \
        --init_file_prefix "${exp}/.dist_init_" --multiprocessing_distributed true -- \
        "${quoted[@]}" > "${exp}/launch.log" 2>&1 && return
    show_failure "${exp}/train.log"
    die "training failed; logs: ${exp}/train.log and, of the launcher, ${exp}/launch.log"
}

# train_once EXP CONFIG ARGUMENTS START INIT...: trains unless EXP is up to date. START
# is the file that identifies the initial weights, or empty.
train_once() {
    local exp=$1 config=$2 arguments=$3 start=$4 file files lists settings
    require_file "${config}" "give the training configuration with --sv_config or --lmft_config"
    mapfile -t lists < <(uninterrupted ${python} scripts/read_config.py \
        augmentation_lists "${config}")
    files=("${train_files[@]}" ${lists[@]+"${lists[@]}"})
    for file in "${files[@]}"; do
        require_file "${file}" "run stages 1 to 3 first, or correct the option that names it"
    done
    settings=$(uninterrupted ${python} scripts/read_config.py training_settings "${config}" \
        "task ${sv_task}" "arguments ${arguments}" "${@:5}" \
        "files $(fingerprint "${files[@]}")" "start $(fingerprint "${start}")")
    once "${exp}/.settings" "${settings}" -- begin_training "${exp}" "${settings}"
    once "${exp}/latest.pth" "${config}" "${arguments}" "${settings}" -- \
        train "${exp}" "${config}" "${arguments}" "${@:5}"
}

# trained_weights EXP: prints the weights of a trained model that later stages use
trained_weights() {
    local name
    for name in ${inference_model:-valid.eer.ave.pth valid.eer.best.pth latest.pth model.pth}; do
        if [ -e "$1/${name}" ]; then
            echo "$1/${name}"
            return
        fi
    done
    die "$1 holds no trained model${inference_model:+ ${inference_model}}: run stage 4 first"
}
