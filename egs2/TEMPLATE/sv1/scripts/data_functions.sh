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

ONLY_CHECKED=9 # exit status of format_set

# format_sets: checks and converts all sets. Once a set is refused, the others are only
# checked, so that one call tells all that is wrong.
format_sets() {
    local dset tables once_status refused=()
    for dset in $(needed_sets); do
        require_file "data/${dset}/wav.scp" "stage 1 makes it"
        if [[ " ${valid_set} ${calib_set} ${test_sets} " == *" ${dset} "* ]]; then
            require_trials "${dset}"
        fi
    done
    for dset in $(needed_sets); do
        tables=(data/"${dset}"/{wav.scp,utt2spk,spk2utt,trials,enroll_spk2utt})
        ! has_spk1_trials "${dset}" || tables+=(data/"${dset}"/trial{.scp,2.scp,_label})
        try_once "${data_feats}/${dset}/wav.scp" "${sample_rate}" "${audio_format}" \
            "${format_args}" "${tables[@]}" -- format_set "${dset}"
        if [ "${once_status}" -ne 0 ] && [ "${once_status}" -ne "${ONLY_CHECKED}" ]; then
            refused+=("data/${dset}")
        fi
    done
    [ ${#refused[@]} -eq 0 ] || die "${refused[*]}: refused, see above"
}

# format_set NAME: checks data/NAME, and converts it for training and embedding; exits
# with ONLY_CHECKED instead if another set is among the refused
format_set() {
    local options=()
    [ "$1" != "${train_set}" ] || options+=(--train true)
    if [ -e "data/$1/trials" ] || has_spk1_trials "$1"; then
        options+=(--trials "data/$1/trials")
    fi
    check_set "$1" ${options[@]+"${options[@]}"}
    [ ${#refused[@]} -eq 0 ] || exit "${ONLY_CHECKED}"
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
    # accepted, but worth a look: silence
    sed -n 's/^.* WARNING: //p' "${data_feats}/logs/format_$1."*log | sort -u
    # and what is converted, which a check in one job has told before
    [ "${format_jobs}" -le 1 ] ||
        sed -n 's/^.* INFO: \(.* converted[:;].*\)/\1/p' "${data_feats}/logs/format_$1.log"
}

# check_set NAME OPTION...: exits with a list of the problems in data/NAME
check_set() {
    local log=${data_feats}/logs/check_$1
    # shellcheck disable=SC2206
    local command=(${python} -m espnet2_sv.bin.sv_check_data "data/$1"
        --sample_rate "${sample_rate}" --allow_pipes "${allow_pipes}" --nj "${nj}")
    if [ "${format_jobs}" -le 1 ]; then # compare_sets looks for repeated recordings
        "${command[@]}" "${@:2}" --repeated false --report "${log}.txt"
        return
    fi
    "${command[@]}" "${@:2}" --check_audio none --report "${log}.txt"
    run_split "check_$1" "${command[@]}" --report "${log}.JOB.txt"
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

# is_held_out NAME: whether the set must have no training speakers
is_held_out() {
    [ "$1" = "${valid_set}" ] || [ "$1" = "${calib_set}" ]
}

# trains_here: whether the model of this call is trained on train_set
trains_here() {
    [ -n "${train_set}" ] && [ -z "${download_model}" ]
}

# check_held_out: exits if the validation or calibration set shares anything with the
# training set, by the tables alone, before any audio is converted
check_held_out() {
    local dset tables
    trains_here && [ -e "data/${train_set}/utt2spk" ] || return 0
    for dset in $(needed_sets); do
        if is_held_out "${dset}" && [ "${dset}" != "${train_set}" ]; then
            tables=(data/{"${train_set}","${dset}"}/{wav.scp,utt2spk,segments})
            once "${data_feats}/logs/held_out_${dset}" "${allow_speaker_overlap}" \
                "${tables[@]}" -- check_held_out_set "${dset}"
        fi
    done
}

# allowed_overlap NAME: prints what the set may share, for --allow_overlap
allowed_overlap() {
    if ! is_held_out "$1"; then
        echo all
    elif "${allow_speaker_overlap}"; then
        echo speakers
    else
        echo none
    fi
}

check_held_out_set() {
    local log=${data_feats}/logs/held_out_$1
    mkdir -p "${log%/*}"
    ${python} -m espnet2_sv.bin.sv_check_data "data/$1" --overlap_only true \
        --repeated false --against "data/${train_set}" --report "${log}.txt" \
        --allow_overlap "$(allowed_overlap "$1")" > "${log}.part" 2>&1 || {
        cat "${log}.part" 1>&2
        die "${1} must have no training speakers, for checkpoints and thresholds are" \
            "chosen on it; --allow_speaker_overlap true accepts shared speakers"
    }
    mv -f "${log}.part" "${log}"
}

# compare_sets: says what the formatted sets repeat, and what they share with others
# that they should be apart from; their results tell it, too
compare_sets() {
    local dset other others names tables
    local -A of=()
    if trains_here; then
        of[${train_set}]=training
    fi
    for dset in $(needed_sets); do
        others=() names=()
        [ -z "${calib_set}" ] || [ -n "${of[${calib_set}]:-}" ] || of[${calib_set}]=calibration
        if "${score_norm}" && [ -n "${cohort_set}" ] && [ -z "${of[${cohort_set}]:-}" ]; then
            of[${cohort_set}]="the cohort"
        fi
        for other in ${train_set} ${calib_set} ${cohort_set}; do
            # of what is held out, only training must be apart
            if [ "${dset}" = "${other}" ] || [ -z "${of[${other}]:-}" ] ||
                [[ " ${others[*]:-} " == *" ${data_feats}/${other} "* ]] ||
                [ ! -e "${data_feats}/${other}/wav.scp" ]; then
                continue
            fi
            if [[ " ${test_sets} " == *" ${dset} "* ]] ||
                { is_held_out "${dset}" && [ "${of[${other}]}" = training ]; }; then
                others+=("${data_feats}/${other}")
                names+=("${of[${other}]}")
            fi
        done
        tables=("${data_feats}"/"${dset}"/{wav.scp,utt2spk,trials})
        for other in ${others[@]+"${others[@]}"}; do
            tables+=("${other}"/{wav.scp,utt2spk})
        done
        once "${data_feats}/${dset}/.compared" "${sample_rate}" "${check_repeated}" \
            "$(allowed_overlap "${dset}")" "${names[*]}" "${tables[@]}" -- compare_set \
            "${dset}" ${#others[@]} ${others[@]+"${others[@]}"} ${names[@]+"${names[@]}"}
    done
}

# compare_set NAME NUMBER OTHER... WHAT_IT_IS...
compare_set() {
    local dir=${data_feats}/$1 options=()
    options=(--notes "${dir}/overlap" --report "${data_feats}/logs/compare_$1.txt")
    [ ! -e "${dir}/trials" ] || options+=(--trials "${dir}/trials")
    if [ "$2" -gt 0 ]; then
        options+=(--allow_overlap "$(allowed_overlap "$1")")
        options+=(--against "${@:3:$2}" --against_names "${@:3+$2}")
    fi
    ${python} -m espnet2_sv.bin.sv_check_data "${dir}" --overlap_only true \
        --sample_rate "${sample_rate}" --allow_pipes "${allow_pipes}" --nj "${nj}" \
        --repeated "${check_repeated}" "${options[@]}"
    touch "${dir}/.compared"
}

# notes_of SET: sets the array notes to the files about the set and those on which
# checkpoint and threshold were chosen, where compare_set has written any
notes_of() {
    local dset
    notes=()
    for dset in $(printf '%s\n' "$1" "${valid_set}" "${calib_set}" | awk 'NF && !seen[$0]++'); do
        [ ! -s "${data_feats}/${dset}/overlap" ] || notes+=("${data_feats}/${dset}/overlap")
    done
}
