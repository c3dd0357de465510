#!/usr/bin/env bash
# The embedded default: from an ASR Conformer to a speaker verifier (transfer), a speaker adaptor on
# the same ASR model (adaptor), a student that it teaches (distill), and the transfer network from
# random weights (scratch), on the AN4 speech that ESPnet's wheel carries.
#
# Eight utterances of five speakers prove the way, not the accuracy: the error rates of
# exp/RESULTS.md say nothing about a model. Validation segments come from the training speakers,
# because five speakers are too few to hold any out. Takes two to four minutes on two CPU cores.
#
#   ./run.sh                                  trains a small ASR Conformer to start from
#   ./run.sh --asr_model TAG_OR_ZIP_OR_DIR    starts from that one
#   tasks=transfer ./run.sh --stage 6         any option of sv.sh (./sv.sh --help), one variant
#   preload=false ./run.sh                    an interpreter of its own for each process
#
# The variants are trained side by side, as many as there are processors (jobs=N: N at a time).
set -e
set -u
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

. scripts/stage_functions.sh

SECONDS=0
read -r -a tasks <<< "${tasks:-transfer scratch adaptor distill}" # transfer makes the ASR model
jobs=${jobs:-$(getconf _NPROCESSORS_ONLN)}

# Importing torch and ESPnet takes longer than most of these processes work; done once, for this
# machine's processes
if "${preload:-true}" && [ "${cmd_backend:-local}" = local ]; then
    . ./path.sh || die "there is no Python environment (see above)"
    export preload=false
    exec python3 scripts/preloaded_python.py env "tasks=${tasks[*]}" "jobs=${jobs}" ./run.sh "$@"
fi

# run_task TASK OPTION...
run_task() {
    ./sv.sh \
        --sv_task "$1" \
        --local_asr_script scripts/pretrain_asr.sh \
        --ngpu 0 \
        --nj 2 \
        --train_set train \
        --valid_set valid \
        --test_sets test \
        --noise_scp data/noise.scp \
        --rir_scp data/rirs.scp \
        --score_norm true \
        --top_n 3 \
        --calibrate true \
        --asr_sets asr_train \
        "${@:2}"
}

# run_labelled TASK OPTION...: each line that it tells says whose it is
run_labelled() {
    run_task "$@" --show_results false 2>&1 | sed -u "s/^/$1: /"
}

# side_by_side OPTION...: all tasks; where two need the same thing, one makes it and the other waits
side_by_side() {
    local task failed
    failed=$(mktemp)
    for task in "${tasks[@]}"; do
        while [ "$(jobs -rp | wc -l)" -ge "${jobs}" ]; do
            wait -n || true
        done
        { run_labelled "${task}" "$@" || echo "${task}" >> "${failed}"; } &
    done
    wait
    if [ -s "${failed}" ]; then
        task=$(tr '\n' ' ' < "${failed}")
        rm "${failed}"
        die "failed: ${task}(what each says last stands above)"
    fi
    rm "${failed}"
}

# compare MODEL WAV WAV: what sv_verify says of two recordings
compare() {
    python3 -m espnet2_sv.bin.sv_verify --model "$1" --enroll "$2" --test "$3" > exp/comparison.json
}

# show_use MODEL...: what a newcomer does next
show_use() {
    local model=$1 wavs=()
    # two recordings of one speaker, by the first target trial
    mapfile -t wavs < <(awk 'NR == FNR { file[$1] = $2; next }
        $3 == "target" { print file[$1]; print file[$2]; exit }' data/valid/{wav.scp,trials})
    once exp/comparison.json "${model}" "${wavs[@]}" -- compare "${model}" "${wavs[@]}"
    cat << END

Speaker models, packed for use anywhere and for the model zoo:
$(printf '    %s\n' "$@")
Two recordings of one speaker, compared with ${model}:
    ${wavs[0]}
    ${wavs[1]}
    $(cat exp/comparison.json)
The same with recordings of yours:
    cd $(pwd -P) && . ./path.sh
    python3 -m espnet2_sv.bin.sv_verify --model ${model} --enroll A.wav --test B.wav
Decisions and error rates mean nothing here: five seconds of three people were heard in training.
END
}

if [ "${#tasks[@]}" -eq 1 ]; then
    run_task "${tasks[0]}" "$@"
else
    side_by_side "$@"
    [ ! -e exp/RESULTS.md ] || cat exp/RESULTS.md
fi

packed=()
for task in "${tasks[@]}"; do
    [ ! -e "exp/sv_${task}/sv_${task}.zip" ] || packed+=("exp/sv_${task}/sv_${task}.zip")
done
[ "${#packed[@]}" -eq 0 ] || show_use "${packed[@]}"
log "Successfully finished. [elapsed=${SECONDS}s]"
