#!/usr/bin/env bash
# The default recipe, on AN4 speech in the espnet package. Trains an ASR Conformer, then
# a speaker verifier from it (transfer), a speaker adaptor on it (adaptor), a student
# distilled from it (distill), and the transfer network from random weights (scratch).
#
# A smoke test, not a benchmark: with eight utterances of five speakers, the error rates
# in exp/RESULTS.md mean nothing. Validation segments are from training speakers, as
# there are too few speakers to hold any out. Takes two to four minutes on two CPU
# cores.
#
#   ./run.sh                                  train a small ASR Conformer to start from
#   ./run.sh --asr_model TAG_OR_ZIP_OR_DIR    start from a published one
#   tasks=transfer ./run.sh --stage 6         one task, options of sv.sh (./sv.sh --help)
#   preload=false ./run.sh                    do not share one preloaded Python
#
# The tasks run side by side, one per processor (jobs=N: N at a time).
set -e
set -u
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

. scripts/stage_functions.sh

SECONDS=0
# transfer first: it makes the ASR model
read -r -a tasks <<< "${tasks:-transfer scratch adaptor distill}"
jobs=${jobs:-$(getconf _NPROCESSORS_ONLN)}
preload=${preload:-true}
[[ ${jobs} =~ ^[1-9][0-9]*$ ]] || die "jobs=${jobs@Q}: write a number of at least 1"
[[ ${preload} =~ ^(true|false)$ ]] || die "preload=${preload@Q}: write true or false"
[ "${#tasks[@]}" -gt 0 ] || die "tasks=: name at least one"
for task in "${tasks[@]}"; do
    [[ ${task} =~ ^(transfer|scratch|adaptor|distill)$ ]] \
        || die "tasks=${tasks[*]}: choose from transfer, scratch, adaptor and distill"
done

# Importing torch and ESPnet takes longer than most jobs here: do it once for all of
# them
. ./path.sh || die "no Python environment (see above)"
. ./cmd.sh || die "cmd_backend in cmd.sh is unusable (see above)"
if "${preload}" && [ "${train_cmd}" = run.pl ]; then # all of it runs on this machine
    export preload=false
    exec python3 scripts/preloaded_python.py \
        env "tasks=${tasks[*]}" "jobs=${jobs}" ./run.sh "$@"
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
        --allow_speaker_overlap true \
        --test_sets test \
        --noise_scp data/noise.scp \
        --rir_scp data/rirs.scp \
        --score_norm true \
        --top_n 3 \
        --calibrate true \
        --asr_sets asr_train \
        "${@:2}"
}

# run_labelled TASK OPTION...: run_task with the task in front of each output line
run_labelled() {
    run_task "$@" --show_results false 2>&1 | (trap '' INT && exec sed -u "s/^/$1: /")
}

# side_by_side OPTION...: runs all tasks; what two tasks need is made by one while the
# other waits
side_by_side() {
    local task failed
    failed=$(mktemp)
    # shellcheck disable=SC2064  # the file's name now
    trap "rm -f '${failed}'" EXIT
    for task in "${tasks[@]}"; do
        while [ "$(jobs -rp | wc -l)" -ge "${jobs}" ]; do
            wait -n || true
        done
        {
            on_interrupt "exit 130"
            run_labelled "${task}" "$@" || echo "${task}" >> "${failed}"
        } &
    done
    wait
    if [ -s "${failed}" ]; then
        task=$(tr '\n' ' ' < "${failed}")
        die "failed: ${task}(see the last lines of each above)"
    fi
}

# compare MODEL WAV WAV OUTPUT: writes the decision of sv_verify on two recordings
compare() {
    write_file "$4" \
        python3 -m espnet2_sv.bin.sv_verify --model "$1" --enroll "$2" --test "$3"
}

# show_use MODEL...: shows what to do next
show_use() {
    local model=$1 wavs=() answer
    answer=$(dirname "${model}")/comparison.json
    # two recordings of one speaker: the first target trial
    mapfile -t wavs < <(awk 'NR == FNR { file[$1] = $2; next }
        $3 == "target" { print file[$1]; print file[$2]; exit }' data/valid/{wav.scp,trials})
    once "${answer}" "${model}" "${wavs[@]}" -- compare "${model}" "${wavs[@]}" "${answer}"
    cat << END

Speaker models, packed for use anywhere and for the model zoo:
$(printf '    %s\n' "$@")
Two recordings of one speaker, compared by ${model}:
    ${wavs[0]}
    ${wavs[1]}
    $(cat "${answer}")
To compare your own recordings:
    cd $(pwd -P) && . ./path.sh
    python3 -m espnet2_sv.bin.sv_verify --model ${model} --enroll A.wav --test B.wav
Decisions and error rates mean nothing here: training used five seconds of three speakers.
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
