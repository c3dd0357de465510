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
format_set() {
    local options=()
    [ "$1" != "${train_set}" ] || options+=(--train true)
    [ ! -e "data/$1/trials" ] || options+=(--trials "data/$1/trials")
    check_set "$1" ${options[@]+"${options[@]}"}
    # shellcheck disable=SC2206
    local command=("${python}" -m espnet2_sv.bin.sv_format_wav --data_dir "data/$1"
        --output_dir "${data_feats}/$1" --sample_rate "${sample_rate}"
        --audio_format "${audio_format}" --allow_pipes "${allow_pipes}" --nj "${nj}" ${format_args})
    if [ "${format_jobs}" -gt 1 ]; then # each its share; the call below writes the tables
        in_shares "format_$1" "${command[@]}"
    fi
    run_job "${train_cmd} --num-threads ${nj}" "${data_feats}/logs/format_$1.log" "${command[@]}"
    # what was odd and is used all the same: silence, other rates, several channels
    sed -n 's/^.* WARNING: //p' "${data_feats}/logs/format_$1."*log | sort -u
}

# check_set NAME OPTION...: stops with a list of what is wrong with data/NAME
check_set() {
    local command=("${python}" -m espnet2_sv.bin.sv_check_data "data/$1"
        --sample_rate "${sample_rate}" --allow_pipes "${allow_pipes}" --nj "${nj}")
    if [ "${format_jobs}" -le 1 ]; then
        "${command[@]}" "${@:2}"
        return
    fi
    "${command[@]}" "${@:2}" --check_audio none
    in_shares "check_$1" "${command[@]}"
}

# in_shares NAME COMMAND...: runs it in format_jobs jobs, each with a --shard; shows what they tell
in_shares() {
    local logs=${data_feats}/logs/$1
    rm -f "${logs}".*.log
    run_job "${train_cmd} --num-threads ${nj} JOB=1:${format_jobs}" "${logs}.JOB.log" \
        "${@:2}" --shard "JOB/${format_jobs}" && return
    cat "${logs}".*.log | grep -v '^# ' 1>&2 || true
    return 1
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
