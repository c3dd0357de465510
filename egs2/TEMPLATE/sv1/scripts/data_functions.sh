#!/usr/bin/env bash
# The functions of sv.sh that handle data sets; they use its options. Sourced by sv.sh.
# shellcheck disable=SC2154  # options of sv.sh

# needed_sets: the data sets that this call uses, each once
needed_sets() {
    {
        "${skip_train}" || printf '%s\n' "${train_set}" "${valid_set}"
        # shellcheck disable=SC2086
        "${skip_eval}" || printf '%s\n' ${test_sets} "${calib_set}"
        "${skip_eval}" || ! "${score_norm}" || echo "${cohort_set}"
    } | awk '!seen[$0]++'
}

# format_set NAME: checks data/NAME and makes it what training and embedding read
format_set() { # NAME
    local options=()
    [ "$1" != "${train_set}" ] || options+=(--train true)
    [ ! -e "data/$1/trials" ] || options+=(--trials "data/$1/trials")
    "${python}" -m espnet2_sv.bin.sv_check_data "data/$1" --sample_rate "${sample_rate}" \
        --allow_pipes "${allow_pipes}" --nj "${nj}" ${options[@]+"${options[@]}"}
    # shellcheck disable=SC2086
    run_job "${train_cmd} --num-threads ${nj}" "${data_feats}/logs/format_$1.log" \
        "${python}" -m espnet2_sv.bin.sv_format_wav --data_dir "data/$1" \
        --output_dir "${data_feats}/$1" --sample_rate "${sample_rate}" \
        --audio_format "${audio_format}" --allow_pipes "${allow_pipes}" --nj "${nj}" ${format_args}
}
# warn_of_training_speakers NAME...: says which sets share speakers with training
warn_of_training_speakers() {
    local dset shared train=data/${train_set}/spk2utt
    for dset in "$@"; do
        if [ -e "${train}" ] && [ -e "data/${dset}/spk2utt" ]; then
            shared=$(awk 'NR == FNR { train[$1]; next } $1 in train' "${train}" \
                "data/${dset}/spk2utt" | wc -l)
            [ "${shared}" -eq 0 ] \
                || log "Warning: ${shared} speakers of ${dset} are training speakers: no fair test"
        fi
    done
}
