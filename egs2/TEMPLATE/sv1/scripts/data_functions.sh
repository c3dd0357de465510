#!/usr/bin/env bash
# Functions for data sets, sourced by sv.sh. They use its options.
# shellcheck disable=SC2154  # options of sv.sh

# needed_sets: prints the data sets that this call uses, each once
needed_sets() {
    {
        "${skip_train}" || printf '%s\n' "${train_set}" "${valid_set}"
        # shellcheck disable=SC2086
        "${skip_eval}" || printf '%s\n' ${test_sets} "${calib_set}"
        "${skip_eval}" || ! "${score_norm}" || echo "${cohort_set}"
    } | awk '!seen[$0]++'
}

# has_spk1_trials NAME: whether data/NAME has the trials of ESPnet's spk1 recipes only
has_spk1_trials() {
    [ ! -e "data/$1/trials" ] && [ -e "data/$1/trial_label" ]
}

# require_trials NAME: exits if data/NAME has no trials
require_trials() {
    local advice="lines of 'enroll_utt test_utt target|nontarget'"
    advice+=", or trial.scp, trial2.scp and trial_label of a spk1 recipe"
    has_spk1_trials "$1" || require_file "data/$1/trials" "${advice}"
}

# format_set NAME: checks data/NAME and converts it for training and embedding
format_set() {
    local options=()
    [ "$1" != "${train_set}" ] || options+=(--train true)
    if [ -e "data/$1/trials" ] || has_spk1_trials "$1"; then
        options+=(--trials "data/$1/trials")
    fi
    check_set "$1" ${options[@]+"${options[@]}"}
    # shellcheck disable=SC2206
    local command=(${python} -m espnet2_sv.bin.sv_format_wav --data_dir "data/$1"
        --output_dir "${data_feats}/$1" --sample_rate "${sample_rate}"
        --audio_format "${audio_format}" --allow_pipes "${allow_pipes}" --nj "${nj}"
        ${format_args})
    if [ "${format_jobs}" -gt 1 ]; then # the call after it then only writes the tables
        run_split "format_$1" "${command[@]}"
    fi
    run_job "${train_cmd} --num-threads ${nj}" "${data_feats}/logs/format_$1.log" \
        "${command[@]}"
    # accepted, but worth a look: silence, other sampling rates, several channels
    sed -n 's/^.* WARNING: //p' "${data_feats}/logs/format_$1."*log | sort -u
}

# check_set NAME OPTION...: exits with a list of the problems in data/NAME
check_set() {
    # shellcheck disable=SC2206
    local command=(${python} -m espnet2_sv.bin.sv_check_data "data/$1"
        --sample_rate "${sample_rate}" --allow_pipes "${allow_pipes}" --nj "${nj}")
    if [ "${format_jobs}" -le 1 ]; then
        "${command[@]}" "${@:2}"
        return
    fi
    "${command[@]}" "${@:2}" --check_audio none
    run_split "check_$1" "${command[@]}"
}

# run_split NAME COMMAND...: splits the work into format_jobs jobs (--shard); if one
# fails, shows the logs of all
run_split() {
    local logs=${data_feats}/logs/$1
    rm -f "${logs}".*.log
    run_job "${train_cmd} --num-threads ${nj} JOB=1:${format_jobs}" "${logs}.JOB.log" \
        "${@:2}" --shard "JOB/${format_jobs}" && return
    cat "${logs}".*.log | grep -v '^# ' 1>&2 || true
    return 1
}

# warn_of_training_speakers NAME...: warns about sets that share speakers with the
# training set
warn_of_training_speakers() {
    local dset shared train=data/${train_set}/spk2utt
    for dset in "$@"; do
        if [ -e "${train}" ] && [ -e "data/${dset}/spk2utt" ]; then
            shared=$(awk 'NR == FNR { train[$1]; next } $1 in train && !seen[$1]++' \
                "${train}" "data/${dset}/spk2utt" | wc -l)
            [ "${shared}" -eq 0 ] \
                || log \
                "Warning: ${dset} shares ${shared} speakers with training: biased results"
        fi
    done
}
