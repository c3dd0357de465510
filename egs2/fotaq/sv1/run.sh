#!/usr/bin/env bash
# ASR pretraining, transfer, adaptor and distillation compared, with controls, on voices
# of the game "Flight of the Amazon Queen": 3.2 hours of acted speech of 30 characters
# from a Debian package that local/data.sh downloads. In each of three folds, the test
# characters are unseen in all training, including that of the ASR models. Runs on a
# CPU.
#
#   ./run.sh --quick true                   one fold, one seed: 17 minutes
#   ./run.sh                                the full experiment: two and a half hours
#   ./run.sh --asr_model TAG_OR_ZIP         only an adaptor on that ASR model
#
# Stages: 1 data; 2 ASR models and the speaker networks that do not need one; 3 other
# speaker networks; 4 recognition, block probes and Resemblyzer; 5 results. If killed,
# call it again to resume. To run parts of it: --stage 3 --stop_stage 3 --folds 2
# --seeds "0" --only "scratch adaptor".
set -e
set -u
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

. scripts/stage_functions.sh

SECONDS=0

# BEGIN OPTIONS (--help prints what is between these marks)
stage=1                        # Processes starts from the specified stage.
stop_stage=5                   # Processes is stopped at the specified stage.
quick=false                    # One fold, one seed, 8 epochs of ASR training.
folds=                         # Default: "1 2 3"; with --quick "1" [numbers].
seeds=                         # Default: "0 1 2"; with --quick "0" [numbers].
only=                          # Names in conf/systems.yaml (default: all).
jobs=2                         # Parallel trainings, of one thread each [>=1].
expdir=                        # Default: exp; with --quick exp/quick.
score_norm=false               # AS-norm of the first seed, too [true|false].
doses=                         # Worse ASR models, too. Default: if synthetic [true|false].
synthetic=                     # Sentences. Default: 20000; with --quick none [>=0].
clips=                         # To recognise. Default: 200; with --quick 60 [>=1].
asr_model=                     # Only attach adaptors to this ASR model.
asr_config=conf/train_asr.yaml # Configuration of ASR training.
asr_args=                      # Further arguments for ASR training.
systems=conf/systems.yaml      # Speaker networks to train and compare.
sv_args=                       # Further arguments, e.g. "--max_epoch 2".
local_data_opts=               # Options passed to local/data.sh.
resemblyzer=true               # Compare with Resemblyzer, which is installed from PyPI.
# END OPTIONS

help_message="$(sed -n '2,/^set /s/^# \{0,1\}//p' run.sh)

$(describe_options run.sh)"

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "unexpected argument: $1 (see --help)"
[ "${stage}" -le 5 ] && [ "${stage}" -le "${stop_stage}" ] \
    || die "--stage ${stage} --stop_stage ${stop_stage}: there is no stage to run"
. ./path.sh || die "no Python environment (see above)"
# A persistent heap with huge pages makes training on a CPU 10 % faster (glibc only)
heap=glibc.malloc
tunables=${heap}.hugetlb=1:${heap}.arena_max=1:${heap}.mmap_threshold=2000000000
tunables+=:${heap}.trim_threshold=8000000000:${heap}.top_pad=500000000
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-${tunables}}

if "${quick}"; then
    folds=${folds:-1} seeds=${seeds:-0} expdir=${expdir:-exp/quick}
    synthetic=${synthetic:-0} clips=${clips:-60}
    asr_args=${asr_args:---max_epoch 8 --scheduler_conf total_steps=800}
    sv_args="--max_epoch 4 --lr_schedule total_steps=160 ${sv_args}"
fi
folds=${folds:-1 2 3} seeds=${seeds:-0 1 2} expdir=${expdir:-exp}
clips=${clips:-200} synthetic=${synthetic:-20000}
begin_synthetic=true
[ "${synthetic}" -gt 0 ] || begin_synthetic=false
doses=${doses:-${begin_synthetic}}
"${begin_synthetic}" || ! "${doses}" \
    || die "--doses true compares with synthetic speech, and --synthetic is 0"
norm_seed=
! "${score_norm}" || norm_seed=${seeds%% *}
if [ -n "${asr_model}" ]; then
    only=adaptor_given
elif [ -z "${only}" ]; then
    only=$(local/systems.py names --systems "${systems}" --quick "${quick}")
fi

# in_parallel: runs the commands on stdin, one per line; the cores are divided evenly
in_parallel() {
    local lines count threads
    mapfile -t lines
    count=${#lines[@]}
    [ "${count}" -gt 0 ] || return 0
    [ "${count}" -lt "${jobs}" ] || count=${jobs}
    threads=$(($(nproc) / count))
    # xargs joins a line that ends with a blank to the next one
    printf '%s\n' "${lines[@]}" | sed 's/ *$//' | OMP_NUM_THREADS=$((threads > 0 ? threads : 1)) \
        xargs -P "${jobs}" -L 1 env || die \
        "a job has failed (see above); call again to resume"
}

# quoted WORD...: quotes for in_parallel
quoted() {
    printf " '%s'" "$@"
}

# asr_commands KIND [FOLD]...: prints, per fold, the command that makes its ASR models of
# that kind
asr_commands() {
    for fold in "${@:2}"; do
        quoted local/asr_models.sh --kind "$1" --fold "${fold}" --expdir "${expdir}" \
            --asr_config "${asr_config}" --asr_args "${asr_args}" --seeds "${seeds}" \
            --synthetic "${begin_synthetic}"
        echo
    done
}

# system_commands KIND OPTION...: prints the commands that train the networks of that
# kind (local/systems.py), sorted by seed; the options give the stages of sv.sh
system_commands() {
    local command job
    command=$(quoted local/train_system.sh --expdir "${expdir}" --asr_model "${asr_model}" \
        --norm_seed "${norm_seed}" "${@:2}")
    # shellcheck disable=SC2086
    for fold in ${folds}; do
        local/systems.py jobs --systems "${systems}" --expdir "${expdir}" \
            --folds "${fold}" \
            --seeds ${seeds} --only ${only} --kind "$1"
    done | sort -s -k 2,2n | while read -r job; do
        echo "${command} ${job}${sv_args:+ ${sv_args}}"
    done
}

if [ "${stage}" -le 1 ] && [ "${stop_stage}" -ge 1 ]; then
    log "Stage 1: Data"
    for fold in ${folds}; do
        ./sv.sh --stop_stage 3 --expdir "${expdir}/fold${fold}" --sv_task scratch \
            --nj 2 \
            --train_set "fold${fold}_train" --valid_set "fold${fold}_valid" \
            --test_sets "fold${fold}_test fold${fold}_test4" \
            --local_data_opts "${local_data_opts}"
    done
    [ -n "${asr_model}" ] || ! "${begin_synthetic}" \
        || local/synthetic_speech.sh --sentences "${synthetic}"
fi

if [ "${stage}" -le 2 ] && [ "${stop_stage}" -ge 2 ]; then
    log "Stage 2: ASR models: ${expdir}/foldF/asr"
    if [ -n "${asr_model}" ]; then
        for fold in ${folds}; do
            local/train_system.sh --expdir "${expdir}" --asr_model "${asr_model}" \
                --stage 2 \
                --stop_stage 2 "${fold}" 0 asr_given adaptor adaptor given
        done
    else
        # side by side: a second thread hardly speeds up models this small
        # shellcheck disable=SC2086
        asr_commands untrained ${folds} | in_parallel
        # short ones last, so that no core waits for another
        # shellcheck disable=SC2086
        {
            if "${begin_synthetic}"; then
                asr_commands synthetic "${folds%% *}"
                ! "${doses}" || asr_commands real ${folds}
            else
                asr_commands trained ${folds}
            fi
            system_commands early --stage 4
        } | in_parallel
        # shellcheck disable=SC2086
        ! "${begin_synthetic}" || asr_commands trained ${folds} | in_parallel
    fi
fi

if [ "${stage}" -le 3 ] && [ "${stop_stage}" -ge 3 ]; then
    log "Stage 3: Speaker networks: ${expdir}/foldF/sv_*"
    system_commands first --stage 4 | in_parallel
    # shellcheck disable=SC2086
    local/systems.py choose --systems "${systems}" --expdir "${expdir}" \
        --folds ${folds} --seeds ${seeds} --only ${only} \
        --trials "dump/raw/fold{fold}_valid/trials"
    system_commands chosen --stage 4 | in_parallel
    system_commands release --stage 8 --stop_stage 9 | in_parallel
fi

if [ "${stage}" -le 4 ] && [ "${stop_stage}" -ge 4 ] && [ -z "${asr_model}" ]; then
    log "Stage 4: ${expdir}/foldF/recognition, probe and resemblyzer"
    for fold in ${folds}; do
        dir=${expdir}/fold${fold} first=seed${seeds%% *}
        others=${dir}/asr_random/${first}.zip
        ! "${doses}" \
            || others+=" ${dir}/asr_early/asr.zip ${dir}/asr_real/asr.zip"
        ! "${begin_synthetic}" || others+=" ${expdir}/asr_synthetic/asr.zip"
        echo "local/recognise.sh --fold ${fold} --model ${dir}/sv_adaptor_${first}" \
            "--clips ${clips} --others '${others}'" # takes longest
        echo "local/probe.sh --fold ${fold} --asr_random ${dir}/asr_random/${first}.zip" \
            "--doses ${doses}"
        ! "${resemblyzer}" || echo \
            "local/resemblyzer.sh --optional true --fold ${fold}" \
            "--score_norm ${score_norm}"
    done | sed "s|\$| --expdir ${expdir}|" | in_parallel
fi

if [ "${stage}" -le 5 ] && [ "${stop_stage}" -ge 5 ]; then
    log "Stage 5: Results: ${expdir}/RESULTS.md"
    mkdir -p "${expdir}/results"
    # shellcheck disable=SC2086
    if [ -z "${asr_model}" ]; then
        local/plot_curves.py --expdir "${expdir}" --folds ${folds} --seeds ${seeds} \
            --output "${expdir}/results/curves.png"
        local/plot_probes.py --expdir "${expdir}" --folds ${folds} \
            --output "${expdir}/results/probes.png"
    fi
    # shellcheck disable=SC2086
    local/results.py --systems "${systems}" --expdir "${expdir}" --folds ${folds} \
        --seeds ${seeds} \
        --only ${only} --score_norm "${score_norm}"
fi

log "Successfully finished. [elapsed=${SECONDS}s]"
