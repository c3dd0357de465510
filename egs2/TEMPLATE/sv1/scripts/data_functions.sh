#!/usr/bin/env bash
# The functions of sv.sh that handle data sets and their embeddings and scores; they use its
# options. Sourced by sv.sh.
# shellcheck disable=SC2154  # options of sv.sh

# needed_sets: the data sets that this call uses, each once
needed_sets() {
    {
        "${skip_train}" || printf '%s\n' "${train_set}" "${valid_set}"
        # shellcheck disable=SC2086
        "${skip_eval}" || printf '%s\n' ${test_sets}
        "${skip_eval}" || ! "${score_norm}" || echo "${cohort_set}"
        "${skip_eval}" || ! "${calibrate}" || echo "${calib_set}"
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

# union_of_wav_scp FILE...: their utterances, each once; one name must not stand for two recordings
union_of_wav_scp() {
    awk 'FNR == 1 { set = FILENAME }
        !($1 in line) { line[$1] = $0; from[$1] = set; print; next }
        line[$1] != $0 {
            print "error: utterance " $1 " is another recording in " set " than in " from[$1] \
                ": rename one" > "/dev/stderr"
            exit 1
        }' "$@"
}

# embed NAME SET...: one embedding for each utterance of the sets, in ${inference_dir}/NAME
embed() {
    local dir=${inference_dir}/$1 jobs=1
    shift
    mkdir -p "${dir}"
    # shellcheck disable=SC2046
    union_of_wav_scp $(printf "${data_feats}/%s/wav.scp " "$@") > "${dir}/wav.scp"
    # shellcheck disable=SC2206
    local command=("${python}" -m espnet2_sv.bin.sv_embed --model "${sv_exp}"
        --wav_scp "${dir}/wav.scp" --output_dir "${dir}" --allow_pipes "${allow_pipes}"
        ${inference_args})
    [ -z "${inference_model}" ] || command+=(--model_file "${sv_exp}/${inference_model}")
    log "embedding $(wc -l < "${dir}/wav.scp") utterances; log: ${dir}/embed.log"
    if "${gpu_inference}"; then
        run_job "${cuda_cmd} --gpu ${ngpu}" "${dir}/embed.log" "${command[@]}" --ngpu "${ngpu}"
        return
    fi
    jobs=${inference_nj}
    if [ "${jobs}" -gt 1 ]; then # each its share; the call below puts them together
        run_job "${decode_cmd} JOB=1:${jobs}" "${dir}/embed.JOB.log" "${command[@]}" \
            --shard "JOB/${jobs}"
    fi
    run_job "${decode_cmd}" "${dir}/embed.log" "${command[@]}"
}

# enrolment NAME: the options for a set whose trials name models of several utterances
enrolment() {
    local models=${data_feats}/$1/enroll_spk2utt
    [ ! -e "${models}" ] || echo "--enroll_spk2utt ${models}"
}

# calibrate_scores KIND SET...: trains on the trials of calib_set, applies to the sets
calibrate_scores() {
    local kind=$1 dset dir train=${inference_dir}/${calib_set}/$1.scores
    shift
    for dset in "$@"; do
        dir=${inference_dir}/${dset}
        # shellcheck disable=SC2086
        once "${dir}/${kind}_calibrated.scores" "${dir}/${kind}.scores" "${train}" \
            "${data_feats}/${calib_set}/trials" "${calibrate_args}" -- \
            run_job "${train_cmd}" "${dir}/${kind}_calibrated.log" \
            "${python}" -m espnet2_sv.bin.sv_calibrate --train_scores "${train}" \
            --train_trials "${data_feats}/${calib_set}/trials" --scores "${dir}/${kind}.scores" \
            --output "${dir}/${kind}_calibrated.scores" \
            --calibration "${inference_dir}/calibration_${kind}.json" ${calibrate_args}
    done
}

# write_results FILE INFERENCE_DIR...: a table of the metrics in these folders
write_results() {
    local output=$1 dir file name entries=()
    shift
    for dir in "$@"; do
        for file in "${dir}"/*/*/metrics.json; do
            name=${file#"${expdir}/"} # e.g. sv_transfer/inference/test/cosine/metrics.json
            name=${name%/metrics.json}
            [ ! -e "${file}" ] || entries+=("${name/\/inference\//\/}=${file}")
        done
    done
    once "${output}" "${entries[@]}" "${entries[@]#*=}" -- \
        "${python}" -m espnet2_sv.bin.sv_results --outpath "${output}" \
        --title "$(basename "$(dirname "${PWD}")")" "${entries[@]}"
}
