#!/usr/bin/env bash
# The functions of sv.sh's training stages; they use its options. Sourced by sv.sh.
# shellcheck disable=SC2154  # options of sv.sh

# Settings that may change when a training goes on; changing any other would mix two models.
may_change="max_epoch\|patience\|keep_nbest_models\|num_workers\|log_interval\|ngpu"

# training_settings CONFIG WORD...: what decides a trained model, a setting a line
training_settings() {
    sed -e 's/#.*//' -e 's/ *$//' -e '/^$/d' -e "/^\(${may_change}\):/d" "$1"
    printf '%s\n' "${@:2}" | sed -e "s/--\(${may_change}\)[ =][^ ]*//g"
}

# has_begun EXP: whether an epoch has ended; see espnet2_sv/train/checkpoint.py for the file names
has_begun() {
    [ -e "$1/checkpoint.safe.pth" ] \
        || { [ -e "$1/checkpoint.pth" ] && [ ! -e "$1/checkpoint.first_epoch" ]; }
}

# begin_training EXP CONFIG WORD...: notes the settings; stops if EXP holds a model of others
begin_training() {
    mkdir -p "$1"
    training_settings "${@:2}" > "$1/.settings.new"
    if has_begun "$1" && ! cmp -s "$1/.settings" "$1/.settings.new"; then
        diff "$1/.settings" "$1/.settings.new" | grep '^[<>]' | head -n 4 1>&2 || true
        die "$1 was begun with other settings or data (see above): give --sv_tag NAME, or remove it"
    fi
    mv "$1/.settings.new" "$1/.settings"
}

# train EXP CONFIG ARGUMENTS INIT...: trains or goes on; INIT are arguments, too
train() {
    local exp=$1 config=$2 arguments=$3 jobname=$1/train.log
    shift 3
    [[ ${cuda_cmd} != *queue* ]] || jobname=$(basename "${exp}") # SGE's job names hold no "/"
    log "training in ${exp}; log: ${exp}/train.log"
    # shellcheck disable=SC2086
    ${python} -m espnet2.bin.launch --cmd "${cuda_cmd} --name ${jobname}" \
        --log "${exp}/train.log" --ngpu "${ngpu}" --num_nodes "${num_nodes}" \
        --init_file_prefix "${exp}/.dist_init_" --multiprocessing_distributed true -- \
        ${python} -m "espnet2_sv.bin.${train_module}" --config "${config}" \
        --output_dir "${exp}" --resume true --sample_rate "${sample_rate}" \
        --train_data_path_and_name_and_type "${data_feats}/${train_set}/wav.scp,speech,sound" \
        --valid_data_path_and_name_and_type "${data_feats}/${valid_set}/wav.scp,speech,sound" \
        --spk2utt "${data_feats}/${train_set}/spk2utt" \
        --valid_trials "${data_feats}/${valid_set}/trials" \
        ${noise_scp:+--noise_scp "${noise_scp}"} ${rir_scp:+--rir_scp "${rir_scp}"} \
        "$@" ${arguments} > "${exp}/launch.log" 2>&1 && return
    show_failure "${exp}/train.log"
    die "training failed; its log is ${exp}/train.log, that of its start ${exp}/launch.log"
}

# augmentation_lists CONFIG: the files that its augment_conf names, e.g. {scp: data/noise.scp, ...}
augmentation_lists() {
    sed -n -e 's/#.*//' -e 's/^.*[{ ]scp: *\([^ ,}]*\).*$/\1/p' "$1"
}

# train_once EXP CONFIG ARGUMENTS START INIT...: START is the file that decides what it starts from
train_once() {
    local exp=$1 config=$2 arguments=$3 start=$4 file files lists
    require_file "${config}" "name the training configuration with --sv_config or --lmft_config"
    mapfile -t lists < <(augmentation_lists "${config}")
    files=("${train_files[@]}" ${lists[@]+"${lists[@]}"})
    for file in "${files[@]}"; do
        require_file "${file}" "run stages 1 to 3 first, or correct the option that names it"
    done
    begin_training "${exp}" "${config}" "task ${sv_task}" "arguments ${arguments}" "${@:5}" \
        "files $(fingerprint "${files[@]}")" "start $(fingerprint "${start}")"
    once "${exp}/latest.pth" "${config}" "${arguments}" "$(cat "${exp}/.settings")" -- \
        train "${exp}" "${config}" "${arguments}" "${@:5}"
}

# trained_weights EXP: the weights of a trained model that later stages use
trained_weights() {
    local name
    for name in ${inference_model:-valid.eer.ave.pth valid.eer.best.pth latest.pth}; do
        if [ -e "$1/${name}" ]; then
            echo "$1/${name}"
            return
        fi
    done
    die "$1 holds no trained model${inference_model:+ ${inference_model}}: run stage 4 first"
}
