#!/usr/bin/env bash
# Functions for training, sourced by sv.sh. They use its options.
# shellcheck disable=SC2154,SC2086  # options of sv.sh; ${python} may be several words

# name_of_source SOURCE: prints the name of a model as a file name, e.g. for
# espnet/voxcelebs12_rawnet3 espnet_voxcelebs12_rawnet3
name_of_source() {
    local name=${1%.zip}
    name=${name//[!A-Za-z0-9.-]/_}
    echo "${name#"${name%%[!._]*}"}"
}

# The names made of a tag have up to 23 more bytes, and encrypted home folders (eCryptfs)
# take 143; other file systems take 255
longest_tag=120

# shorten NAME WORD...: prints the name; if it is too long for a folder, its beginning and
# a checksum of name and words
shorten() {
    local name=$1 sum
    if [ "${#name}" -gt "${longest_tag}" ]; then
        sum=$(echo "$*" | cksum | cut -d " " -f 1)
        name=${name:0:longest_tag-11}_${sum}
    fi
    echo "${name}"
}

# require_gpus NUMBER: exits if training runs on this machine and it has fewer GPUs; takes
# a fraction of a second
require_gpus() {
    local message
    [[ "$1" -gt 0 && ${cuda_cmd%% *} =~ ^(run|stdout)\.pl$ ]] || return 0
    message=$(uninterrupted python3 -c '
import sys
from espnet2_sv.environment import require_gpus
from espnet2_sv.errors import SVError
try:
    require_gpus(sys.argv[1])
except SVError as e:
    print(e)' "$1")
    [ -z "${message}" ] || die "${message}"
}

# about_model DIR KEY: prints what asr_resolve or sv_resolve found out about the model
# that it put there
about_model() {
    uninterrupted ${python} scripts/read_config.py get "$1/source.json" "summary.$2"
}

# require_rate DIR SOURCE: exits unless the model there takes audio of the rate of --fs
require_rate() {
    local rate
    rate=$(about_model "$1" sample_rate) # nothing if an earlier version put it there
    [ -z "${rate}" ] || [ "${rate}" = "${sample_rate}" ] \
        || die "--fs ${fs}: $2 takes audio at ${rate} Hz; give --fs ${rate}"
}

# warn_of_no_noises CONFIG ARGUMENTS: says what is added to the training crops if the
# configuration wants noises and no list of them is given (espnet2_sv/tasks/sv.py)
warn_of_no_noises() {
    [ -z "${noise_scp}" ] && [[ " $2" != *" --noise_scp"[\ =]* ]] || return 0
    [ -n "$(uninterrupted ${python} scripts/read_config.py unlisted_noises "$1")" ] || return 0
    log "Warning: without --noise_scp, babble of the training recordings is added to the" \
        "crops; sv_prep_noises makes lists of better noises (MUSAN)"
}

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
    warn_of_no_noises "${config}" "${arguments}"
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
        # srun --kill-on-bad-exit: a process that fails ends those of all nodes
        export SLURM_KILL_BAD_EXIT=${SLURM_KILL_BAD_EXIT:-1}
        ${python} -m espnet2.bin.launch --cmd "${cuda_cmd} --name ${jobname}" \
            --log "${exp}/train.log" --ngpu "${ngpu}" --num_nodes "${num_nodes}" \
            --init_file_prefix "${exp}/.dist_init_" --multiprocessing_distributed true \
            -- "${quoted[@]}" > "${exp}/launch.log" 2>&1 || exit # bash remains
    } | show_progress "${exp}/progress.txt" || status=${PIPESTATUS[0]}
    if [ "${status}" -eq 0 ]; then
        show_classes "${exp}"
        return
    fi
    show_failure "${exp}/train.log"
    die "training failed; logs: ${exp}/train.log and, of the launcher, ${exp}/launch.log"
}

# show_classes EXP: says it if fine-tuning started with new classes
show_classes() {
    local line
    line=$(sed -n 's/^.* INFO: \(Kept the network .* starts anew .*\)$/\1/p' \
        "$1/train.log" 2> /dev/null | tail -n 1 || true)
    [ -z "${line}" ] || log "${line}"
}

# train_once EXP CONFIG ARGUMENTS START INIT...: trains unless EXP is up to date. START
# is the file that identifies the initial weights, or empty.
train_once() {
    local exp=$1 config=$2 arguments=$3 start=$4 file files lists settings
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
