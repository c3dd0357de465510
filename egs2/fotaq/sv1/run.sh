#!/usr/bin/env bash
# ASR pretraining, transfer, adaptor and distillation compared, with their controls, on the voices
# of "Flight of the Amazon Queen": 3.2 hours of real acted speech of 30 characters, which Debian's
# package gives to anyone in a minute (local/data.sh). In each of three folds the tested characters
# are unseen by all that is trained, ASR models included. Needs a CPU and no GPU.
#
#   ./run.sh --quick true                   one fold, one seed, less ASR training: 30 to 40 minutes
#   ./run.sh                                all of it: hours, see RESULTS.md
#   ./run.sh --asr_model TAG_OR_ZIP         only an adaptor on that ASR model
#
# Stages: 1 data, 2 ASR models and, beside them, the speaker networks that start from none, 3 the
# other speaker networks, 4 recognition, block probes and Resemblyzer, 5 results. A call that was
# killed is finished by the same call; and pieces can be run one by one,
# e.g. --stage 3 --stop_stage 3 --folds 2 --seeds "0" --only "scratch adaptor".
set -e
set -u
set -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

. scripts/stage_functions.sh

SECONDS=0

# BEGIN OPTIONS (--help prints what is between these marks)
stage=1
stop_stage=5
quick=false               # One fold, one seed, 8 of 42 epochs of ASR training; see the defaults.
folds=                    # Default: "1 2 3"; with --quick "1".
seeds=                    # Default: "0 1 2"; with --quick "0". The first one is chosen with.
only=                     # Names in conf/systems.yaml (default: all; with --quick, see there).
jobs=2                    # Trainings at the same time, of one thread each.
expdir=                   # Default: exp; with --quick exp/quick.
score_norm=               # Whether to do AS-norm, too. Default: true; with --quick false.
half_trained=             # Whether a half-trained ASR model is packed and probed. Likewise.
clips=                    # To recognise, of each set. Default: 400; with --quick 60.
asr_model=                # An ASR model to attach adaptors to, instead of all the rest.
asr_config=conf/train_asr.yaml
asr_args=                 # Further arguments of ASR training.
systems=conf/systems.yaml # What is trained and compared.
sv_args=                  # Further arguments of every speaker training, e.g. "--max_epoch 2".
local_data_opts=          # Options given to local/data.sh.
resemblyzer=true          # Whether to test Resemblyzer, which is fetched from PyPI.
# END OPTIONS

help_message="$(sed -n '/^# ASR/,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p;}' run.sh)

$(describe_options run.sh)"

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "no positional arguments are understood: $1 (see --help)"
. ./path.sh || die "there is no Python environment (see above)"
# One heap of huge pages that is kept: a tenth less time for training on a CPU, where glibc is used
heap=glibc.malloc
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-${heap}.hugetlb=1:${heap}.arena_max=1:${heap}.mmap_threshold=2000000000:${heap}.trim_threshold=8000000000:${heap}.top_pad=500000000}

if "${quick}"; then
    folds=${folds:-1} seeds=${seeds:-0} expdir=${expdir:-exp/quick}
    score_norm=${score_norm:-false} half_trained=${half_trained:-false} clips=${clips:-60}
    asr_args=${asr_args:---max_epoch 8 --scheduler_conf total_steps=800}
fi
folds=${folds:-1 2 3} seeds=${seeds:-0 1 2} expdir=${expdir:-exp}
score_norm=${score_norm:-true} half_trained=${half_trained:-true} clips=${clips:-400} norm_seed=
! "${score_norm}" || norm_seed=${seeds%% *}
if [ -n "${asr_model}" ]; then
    only=adaptor_given
elif [ -z "${only}" ]; then
    only=$(local/systems.py names --systems "${systems}" --quick "${quick}")
fi

# in_parallel: runs the commands that are the lines of its input; the jobs share the cores evenly
in_parallel() {
    local lines count threads
    mapfile -t lines
    count=${#lines[@]}
    [ "${count}" -gt 0 ] || return 0
    [ "${count}" -lt "${jobs}" ] || count=${jobs}
    threads=$(($(nproc) / count))
    printf '%s\n' "${lines[@]}" | OMP_NUM_THREADS=$((threads > 0 ? threads : 1)) \
        xargs -P "${jobs}" -L 1 env || die "a job has failed (see above); call again to go on"
}

# quoted WORD...: as in_parallel reads them; no blank at the end, which xargs takes for a longer line
quoted() {
    printf " '%s'" "$@"
}

# tell_asr_models KIND: a command for each fold that makes its ASR models of that kind
tell_asr_models() {
    for fold in ${folds}; do
        quoted local/asr_models.sh --kind "$1" --fold "${fold}" --expdir "${expdir}" \
            --asr_config "${asr_config}" --asr_args "${asr_args}" --seeds "${seeds}" \
            --half "${half_trained}"
        echo
    done
}

# tell_systems KIND OPTION...: a command for each network of that kind that local/systems.py tells of
# the folds, seed by seed; it runs the stages of sv.sh that are among the options
tell_systems() {
    local command job
    command=$(quoted local/train_system.sh --expdir "${expdir}" --asr_model "${asr_model}" \
        --norm_seed "${norm_seed}" "${@:2}")
    # shellcheck disable=SC2086
    for fold in ${folds}; do
        local/systems.py jobs --systems "${systems}" --expdir "${expdir}" --fold "${fold}" \
            --seeds ${seeds} --only ${only} --kind "$1"
    done | sort -s -k 2,2n | while read -r job; do
        echo "${command} ${job}${sv_args:+ ${sv_args}}"
    done
}

if [ "${stage}" -le 1 ] && [ "${stop_stage}" -ge 1 ]; then
    log "Stage 1: Data"
    for fold in ${folds}; do
        ./sv.sh --stop_stage 3 --expdir "${expdir}/fold${fold}" --sv_task scratch --nj 2 \
            --train_set "fold${fold}_train" --valid_set "fold${fold}_valid" \
            --test_sets "fold${fold}_test fold${fold}_test4" --local_data_opts "${local_data_opts}"
    done
fi

if [ "${stage}" -le 2 ] && [ "${stop_stage}" -ge 2 ]; then
    log "Stage 2: ASR models: ${expdir}/foldF/asr"
    if [ -n "${asr_model}" ]; then
        for fold in ${folds}; do
            local/train_system.sh --expdir "${expdir}" --asr_model "${asr_model}" --stage 2 \
                --stop_stage 2 "${fold}" 0 asr_given adaptor adaptor given
        done
    else
        # networks beside the ASR models: two threads train so small a model hardly faster than one
        tell_asr_models untrained | in_parallel
        {
            tell_asr_models trained
            tell_systems early --stage 4
        } | in_parallel
    fi
fi

if [ "${stage}" -le 3 ] && [ "${stop_stage}" -ge 3 ]; then
    log "Stage 3: Speaker networks: ${expdir}/foldF/sv_*"
    tell_systems first --stage 4 | in_parallel
    for fold in ${folds}; do
        # shellcheck disable=SC2086
        local/systems.py choose --systems "${systems}" --expdir "${expdir}" --fold "${fold}" \
            --seeds ${seeds} --only ${only} --trials "dump/raw/fold${fold}_valid/trials"
    done
    tell_systems chosen --stage 4 | in_parallel
    tell_systems release --stage 8 --stop_stage 9 | in_parallel
fi

if [ "${stage}" -le 4 ] && [ "${stop_stage}" -ge 4 ] && [ -z "${asr_model}" ]; then
    log "Stage 4: ${expdir}/foldF/recognition, probe and resemblyzer"
    for fold in ${folds}; do
        dir=${expdir}/fold${fold} first=seed${seeds%% *}
        echo "local/recognise.sh --fold ${fold} --model ${dir}/sv_adaptor_${first}" \
            "--clips ${clips}" # the longest
        echo "local/probe.sh --fold ${fold} --asr_random ${dir}/asr_random/${first}.zip" \
            "--half ${half_trained}"
        ! "${resemblyzer}" || echo "local/resemblyzer.sh --optional true --fold ${fold}" \
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
    local/results.py --systems "${systems}" --expdir "${expdir}" --folds ${folds} --seeds ${seeds} \
        --only ${only} --score_norm "${score_norm}"
fi

log "Successfully finished. [elapsed=${SECONDS}s]"
