#!/usr/bin/env bash
# Functions for embeddings, scores and results, sourced by sv.sh. They use its options.
# shellcheck disable=SC2154,SC2086  # options of sv.sh; ${python} may be several words

# union_of_wav_scp FILE...: prints their utterances, each once; exits if one name has
# two recordings
union_of_wav_scp() {
    awk 'FNR == 1 { set = FILENAME }
        !($1 in line) { line[$1] = $0; from[$1] = set; print; next }
        line[$1] != $0 {
            print "error: utterance " $1 " is a different recording in " set \
                " and " from[$1] \
                ": rename one" > "/dev/stderr"
            exit 1
        }' "$@"
}

# replace_inference NEW OLD: puts complete embeddings into place, and deletes the
# results of another model; not while a table is being made of them
replace_inference() {
    local scp new=/${1##*/}/ old=/${2##*/}/
    for scp in "$1"/{trials,cohort,*/joint}/xvector.scp; do # they name NEW
        # shellcheck disable=SC2016  # variables of awk
        [ ! -e "${scp}" ] || write_file "${scp}" \
            awk -v "new=${new}" -v "old=${old}" '(at = index($2, new)) {
                $2 = substr($2, 1, at - 1) old substr($2, at + length(new)) } 1' "${scp}"
    done
    lock "${expdir}/.results.lock" "${expdir}/RESULTS.md"
    rm -f "${sv_exp}"/{calibration,threshold}.json
    replace_folder "$1" "$2"
    unlock "${expdir}/.results.lock"
}

# embed SET...: computes an embedding of each utterance of the sets, in
# ${inference_dir}/trials, and, with AS-norm, of the cohort, in cohort/; writes the
# model's size and cost to model.json
embed() {
    local trials=${inference_dir}/trials cohort=${inference_dir}/cohort dirs=()
    local jobs=${inference_nj}
    mkdir -p "${trials}"
    if "${score_norm}"; then
        mkdir -p "${cohort}"
        write_file "${cohort}/wav.scp" \
            union_of_wav_scp "${data_feats}/${cohort_set}/wav.scp"
        dirs+=("${cohort}")
    fi
    # shellcheck disable=SC2046
    write_file "${trials}/wav.scp" \
        union_of_wav_scp $(printf "${data_feats}/%s/wav.scp " "$@")
    dirs+=("${trials}") # last: its scp is the output of the stage
    # shellcheck disable=SC2206
    local command=(${python} -m espnet2_sv.bin.sv_embed --model "${sv_exp}"
        --wav_scp "${dirs[@]/%//wav.scp}" --output_dir "${dirs[@]}"
        --allow_pipes "${allow_pipes}" --vad false
        ${inference_config:+--config "${inference_config}"} ${inference_args})
    [ -z "${inference_model}" ] || command+=(--model_file "${sv_exp}/${inference_model}")
    log "embedding $(cat "${dirs[@]/%//wav.scp}" | wc -l) utterances; log: ${trials}/embed.log"
    if "${gpu_inference}"; then
        run_job "${cuda_cmd} --gpu ${ngpu}" "${trials}/embed.log" "${command[@]}" \
            --system "${inference_dir}/model.json" --ngpu "${ngpu}"
        return
    fi
    if [ "${jobs}" -gt 1 ]; then # the call after it then only joins the parts
        run_job "${decode_cmd} JOB=1:${jobs}" "${trials}/embed.JOB.log" \
            "${command[@]}" \
            --shard "JOB/${jobs}"
    fi
    run_job "${decode_cmd}" "${trials}/embed.log" "${command[@]}" \
        --system "${inference_dir}/model.json"
}

# recognise_alone SET: recognition by ESPnet's own command and the ASR model without
# adaptor
recognise_alone() {
    local dir=${inference_dir}/$1/asr_alone data=data/$1 task=asr
    ! grep -q "^ *s2t_train_config:" "${asr_dir}/meta.yaml" || task=s2t # OWSM
    ! grep -qs "^model: espnet_ctc" "${asr_dir}/config.yaml" || task=s2t_ctc # OWSM-CTC
    require_file "${data}/text" "--asr_sets needs it"
    require_file "${asr_decode_config}" "give ESPnet's decoding options with --asr_decode_config"
    once "${dir}/1best_recog/text" "${asr_dir}/source.json" "${asr_decode_config}" \
        "${data}/wav.scp" -- recognise_by_espnet "${task}" "${data}" "${dir}"
}

# recognise_by_espnet TASK DATA DIR: runs ESPnet's recogniser of a task
recognise_by_espnet() {
    local program=$1_inference options=$1 decoding=${asr_decode_config}
    local settings=${asr_dir}/config.yaml symbols=() name value
    if [ "$1" = s2t_ctc ]; then
        program=s2t_inference_ctc options=s2t decoding=$3/decode.yaml settings=$3/asr.yaml
        make_folder_of "${settings}"
        # all of the weight is CTC's, so there is no option for it
        write_file "${decoding}" uninterrupted \
            ${python} scripts/read_config.py without "${asr_decode_config}" ctc_weight
        # the preprocessor of training would pad to 30 s, which Speech2Text does not do
        write_file "${settings}" sed "s/^use_preprocessor: .*/use_preprocessor: false/" \
            "${asr_dir}/config.yaml"
        for name in lang_sym task_sym; do # by default those that the adaptor was trained with
            value=$(uninterrupted ${python} scripts/read_config.py get "${asr_decode_config}" "${name}")
            [ -n "${value}" ] || value=$(uninterrupted ${python} \
                scripts/read_config.py get "${sv_exp}/config.yaml" "${name}")
            value=${value#<} # ESPnet puts it into angle brackets
            [ -z "${value}" ] || symbols+=("--${name}" "${value%>}")
        done
    fi
    run_job "${decode_cmd}" "$3/decode.log" ${python} \
        -m "espnet2.bin.${program}" \
        --config "${decoding}" --ngpu 0 --output_dir "$3" \
        "--${options}_train_config" "${settings}" \
        "--${options}_model_file" "${asr_dir}/model.pth" \
        --data_path_and_name_and_type "$2/wav.scp,speech,sound" \
        --key_file "$2/wav.scp" ${symbols[@]+"${symbols[@]}"}
    # without symbols for language, task and time
    [ "${options}" != s2t ] || cp "$3/1best_recog/text_nospecial" "$3/1best_recog/text"
}

# recognise_jointly SET MODEL: text and embeddings from one pass of the ASR model with
# adaptor
recognise_jointly() {
    local dir=${inference_dir}/$1/joint
    once "${dir}/text" "$2" "${asr_decode_config}" "data/$1/wav.scp" -- \
        run_job "${decode_cmd}" "${dir}/decode.log" ${python} \
        -m espnet2_sv.bin.sv_joint \
        --model "${sv_exp}" --decode beam --decode_config "${asr_decode_config}" \
        --wav_scp "data/$1/wav.scp" --output_dir "${dir}"
}

# set_sides SET: sets the array sides to the options for the embeddings of both sides of
# a trial
set_sides() {
    local vectors=${inference_dir}/trials/xvector.scp
    local models=${data_feats}/$1/enroll_spk2utt
    sides=(--enroll_scp "${vectors}" --test_scp "${vectors}")
    if [ -e "${models}" ]; then # models, of several utterances each, are enrolled
        sides+=(--enroll_spk2utt "${models}")
    fi
}

# score SET: computes cosine scores
score() {
    local dir=${inference_dir}/$1/cosine trials=${data_feats}/$1/trials sides
    set_sides "$1"
    once "${dir}/scores" "${inference_dir}/trials/xvector.ark" "${trials}" \
        "${sides[@]}" -- \
        run_job "${train_cmd}" "${dir}/score.log" ${python} \
        -m espnet2_sv.bin.sv_score \
        --trials "${trials}" "${sides[@]}" --output "${dir}/scores"
}

# normalise_scores SET: AS-norm of the cosine scores; a speaker is left out of its own
# cohort
normalise_scores() {
    local cosine=${inference_dir}/$1/cosine/scores dir=${inference_dir}/$1/asnorm sides
    local cohort=${inference_dir}/cohort/xvector speakers=("${data_feats}/$1/utt2spk")
    [ ! -e "${data_feats}/$1/enroll_utt2spk" ] \
        || speakers+=("${data_feats}/$1/enroll_utt2spk")
    require_file "${cohort}.scp" "run stage 6 first with --score_norm true"
    set_sides "$1"
    once "${dir}/scores" "${cosine}" "${cohort}.ark" \
        "${inference_dir}/trials/xvector.ark" \
        "${sides[@]}" "${speakers[@]}" "${data_feats}/${cohort_set}/utt2spk" "${top_n}" \
        "${score_norm_args}" -- \
        run_job "${train_cmd}" "${dir}/score.log" ${python} \
        -m espnet2_sv.bin.sv_score_norm \
        --scores "${cosine}" "${sides[@]}" --utt2spk "${speakers[@]}" \
        --cohort_scp "${cohort}.scp" \
        --cohort_utt2spk "${data_feats}/${cohort_set}/utt2spk" --top_n "${top_n}" \
        --output "${dir}/scores" ${score_norm_args}
}

# calibrate_scores KIND SET...: trains calibration on calib_set and applies it to the
# sets
calibrate_scores() {
    local kind=$1 dset durations=${inference_dir}/trials/utt2dur
    local train=${inference_dir}/${calib_set}/${kind}/scores
    local trials=${data_feats}/${calib_set}/trials
    shift
    for dset in "$@"; do
        local from=${inference_dir}/${dset}/${kind}
        local to=${from}_calibrated
        once "${to}/scores" "${from}/scores" "${train}" "${trials}" "${durations}" \
            "${calibrate_args}" -- \
            run_job "${train_cmd}" "${to}/score.log" ${python} \
            -m espnet2_sv.bin.sv_calibrate \
            --train_scores "${train}" --train_trials "${trials}" \
            --utt2dur "${durations}" \
            --score_kind "${kind/asnorm/as_norm}" --scores "${from}/scores" \
            --output "${to}/scores" ${calibrate_args}
        if [ "${kind}" = cosine ]; then # packed with the model
            replace_file "${to}/calibration.json" "${sv_exp}/calibration.json"
        fi
    done
}

# measure SET KIND...: computes the metrics of each kind of scores
measure() {
    local dset=$1 trials=${data_feats}/$1/trials speakers=("${data_feats}/$1/utt2spk")
    local kind log=${inference_dir}/$1/metrics.log dirs=() files=() titles=() outputs=()
    local name calibrated=()
    local notes
    notes_of "${dset}"
    # speakers of the models in the first column of trials
    [ ! -e "${data_feats}/${dset}/enroll_utt2spk" ] \
        || speakers+=("${data_feats}/${dset}/enroll_utt2spk")
    for kind in "${@:2}"; do
        require_file "${inference_dir}/${dset}/${kind}/scores" "run stage 7 first"
        dirs+=("${inference_dir}/${dset}/${kind}")
        files+=("${inference_dir}/${dset}/${kind}/scores")
        name=${kind/asnorm/AS-norm} # as in SCORE_KINDS of scoring/results.py
        titles+=("${sv_exp##*/} on ${dset}, ${name/_/, }")
        [[ ${kind} == *_calibrated ]] && calibrated+=(true) || calibrated+=(false)
        outputs+=(--and "${inference_dir}/${dset}/${kind}/metrics.json")
    done
    once "${outputs[@]:1}" "${files[@]}" "${trials}" "${speakers[@]}" \
        ${notes[@]+"${notes[@]}"} -- \
        run_job "${train_cmd}" "${log}" ${python} -m espnet2_sv.bin.sv_metrics \
        --trials "${trials}" --utt2spk "${speakers[@]}" --scores "${files[@]}" \
        --output_dir "${dirs[@]}" --title "${titles[@]}" --calibrated "${calibrated[@]}" \
        ${notes[@]+--notes "${notes[@]}"}
}

# choose_threshold: stores the threshold at the EER of calib_set, to be packed with the
# model
choose_threshold() {
    local dir=${inference_dir}/threshold threshold
    local scores=${inference_dir}/${calib_set}/cosine/scores
    local trials=${data_feats}/${calib_set}/trials
    require_file "${scores}" "run stage 7 first"
    once "${dir}/metrics.json" "${scores}" "${trials}" -- \
        run_job "${train_cmd}" "${dir}/metrics.log" ${python} \
        -m espnet2_sv.bin.sv_metrics \
        --trials "${trials}" --scores "${scores}" --output_dir "${dir}" \
        --bootstrap_samples 0 \
        --pictures false
    threshold=$(uninterrupted ${python} scripts/read_config.py get "${dir}/metrics.json" \
        eer_threshold)
    [ -n "${threshold}" ] || die "${dir}/metrics.json has no eer_threshold: delete it and try again"
    write_file "${dir}/threshold.json" echo "{\"cosine\": ${threshold}}"
    replace_file "${dir}/threshold.json" "${sv_exp}/threshold.json"
}

# describe_system: puts system.json beside all metrics.json: the model's size and cost
# and, for adaptors, the error rates of recognition
describe_system() {
    local file texts=() dset
    local model=${inference_dir}/model.json system=${inference_dir}/system.json
    for dset in ${asr_sets}; do # the first one only: the table has one column
        file=${inference_dir}/${dset}
        if [ -e "${file}/joint/text" ] && [ "${#texts[@]}" -eq 0 ]; then
            texts=("data/${dset}/text" "${file}/asr_alone/1best_recog/text"
                "${file}/joint/text")
        fi
    done
    require_file "${model}" "run stage 6 first"
    if [ "${#texts[@]}" -eq 0 ]; then
        once "${system}" "${model}" -- cp "${model}" "${system}"
    else
        once "${system}" "${model}" "${texts[@]}" -- \
            run_job "${train_cmd}" "${inference_dir}/describe.log" \
            ${python} -m espnet2_sv.bin.sv_describe --system "${model}" --output "${system}" \
            --text "${texts[0]}" --text_asr_alone "${texts[1]}" \
            --text_joint "${texts[2]}"
    fi
    for file in "${inference_dir}"/*/*/metrics.json; do
        replace_file "${system}" "${file%/*}/system.json"
    done
}

# write_results FILE PAGE LAYOUT INFERENCE_DIR...: writes tables of the metrics in these
# folders, and PAGE as ESPnet's recipes have it; PAGE and LAYOUT may be empty
write_results() {
    local output=$1 page=$2 layout=$3 dir dset kind file name
    local entries=() systems=() exps=() facts=()
    local corpus=${PWD%/*} # e.g. egs2/voxceleb
    shift 3
    for dir in "$@"; do
        for dset in "${dir}"/*/; do
            for kind in {cosine,asnorm}{,_calibrated}; do
                file=${dset}${kind}/metrics.json
                # e.g. exp/sv_transfer/inference/test/cosine becomes sv_transfer/test/cosine
                name=${dset#"${expdir}/"}${kind}
                name=${name/\/inference\//\/}
                [ -e "${file}" ] || continue
                entries+=("${name}=${file}")
                systems+=("${file%/*}/system.json")
            done
        done
        name=${dir#"${expdir}/"}
        exps+=(--exp "${name%/inference}=${dir%/*}")
        facts+=("${dir%/*}"/{config.yaml,hub.json})
    done
    [ -n "${page}" ] || exps=() facts=()
    once "${output}" ${page:+--and "${page}"} "${layout}" "${entries[@]}" \
        "${entries[@]#*=}" "${systems[@]}" ${facts[@]+"${facts[@]}"} -- \
        ${python} -m espnet2_sv.bin.sv_results --output "${output}" \
        ${page:+--espnet_output "${page}"} ${exps[@]+"${exps[@]}"} \
        ${layout:+--layout "${layout}"} \
        --title "Results of ${corpus##*/}" "${entries[@]}"
}

# write_all_results FILE PAGE: writes the tables of all experiments
write_all_results() {
    local dirs=("${expdir}"/sv_*/inference*)
    # --sv_exp may be elsewhere
    [[ " ${dirs[*]} " == *" ${inference_dir} "* ]] || dirs+=("${inference_dir}")
    write_results "$1" "$2" "${results_layout}" "${dirs[@]}"
}
