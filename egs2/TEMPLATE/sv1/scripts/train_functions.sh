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

# show_progress FILE: shows the progress.txt of a training (espnet2_sv/train/progress.py
# says what it holds) until standard input ends, or the recipe has. On a terminal, one
# line renews itself; elsewhere there is a line per epoch.
show_progress() {
    local shown=0 number line current status=142 nothing terminal=false
    local start=${SECONDS}
    ! { [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; } || terminal=true
    trap '' INT # what standard input comes from ends then
    while :; do
        number=0
        line="starting, $((SECONDS - start)) s"
        if [ -e "$1" ]; then
            while IFS= read -r line; do # its last line, of now, has no end
                number=$((number + 1))
                current=${line}
                [ "${number}" -gt "${shown}" ] || continue
                shown=${number}
                if ! "${terminal}"; then
                    printf '%s\n' "${line}"
                elif [[ ${line} != epoch\ * ]]; then
                    printf '\r\033[K%s\n' "${line}"
                fi
            done < "$1"
        fi 2> /dev/null # just replaced, by another machine
        current=${line:-${current:-}}
        if [ "${status}" -le 128 ] || ! kill -0 "$$" 2> /dev/null; then
            break
        fi
        # erases the line; does not wrap a long one
        ! "${terminal}" || printf '\r\033[K\033[?7l%s\033[?7h' "${current}"
        status=0
        # shellcheck disable=SC2034  # nothing comes but the end
        read -r -t 1 nothing || status=$?
    done
    ! "${terminal}" || printf '\r\033[K'
}

# train EXP CONFIG ARGUMENTS INIT...: starts or resumes a training; INIT are further
# arguments
train() {
    local exp=$1 config=$2 arguments=$3 jobname=$1/train.log quoted status=0
    shift 3
    # SGE does not allow "/" in job names
    [[ ${cuda_cmd} != *queue* ]] || jobname=${exp##*/}
    log "training in ${exp}; log: ${exp}/train.log"
    # stage 10 has uploaded other weights
    rm -f "${exp}/hub.json" "${exp}/progress.txt"
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
    {   # writes nothing to the pipe, but ends it
        ${python} -m espnet2.bin.launch --cmd "${cuda_cmd} --name ${jobname}" \
            --log "${exp}/train.log" --ngpu "${ngpu}" --num_nodes "${num_nodes}" \
            --init_file_prefix "${exp}/.dist_init_" --multiprocessing_distributed true \
            -- "${quoted[@]}" > "${exp}/launch.log" 2>&1 || exit # bash remains
    } | show_progress "${exp}/progress.txt" || status=${PIPESTATUS[0]}
    [ "${status}" -ne 0 ] || return 0
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
