#!/usr/bin/env bash
# Trains and scores one speaker network of conf/systems.yaml in one fold with sv.sh.
#
#   local/train_system.sh [--expdir D] FOLD SEED NAME TASK CONFIG ASR [ARGUMENT]...
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
expdir=exp   # Directory of experiments.
asr_model=   # The ASR model if ASR is "given".
norm_seed=   # [>=0] Normalise scores (AS-norm) of this seed only, because it is slow.
stage=2      # First stage of sv.sh.
stop_stage=7 # Last stage of sv.sh.
# END OPTIONS

help_message="Usage: $0 [options] FOLD SEED NAME TASK CONFIG ASR [ARGUMENT]...

$(describe_options "$0")"

. utils/parse_options.sh
[ $# -ge 6 ] || die "give FOLD SEED NAME TASK CONFIG ASR (see --help)"
fold=$1 seed=$2 name=$3 task=$4 config=$5 asr=$6
shift 6

dir=${expdir}/fold${fold}
exp=${dir}/sv_${name}_seed${seed}
case "${asr}" in
    trained) model=${dir}/asr/asr.zip ;;
    real | early) model=${dir}/asr_${asr}/asr.zip ;;
    random) model=${dir}/asr_random/seed${seed}.zip ;;
    *) model=${asr_model} ;;
esac
mkdir -p "${dir}/logs"
log=${dir}/logs/${name}_seed${seed}.log

norm=false
[ "${seed}" != "${norm_seed}" ] || norm=true
start=${SECONDS}
./sv.sh --stage "${stage}" --stop_stage "${stop_stage}" --skip_stages 3 \
    --expdir "${dir}" --sv_exp "${exp}" --sv_task "${task}" \
    --sv_config "conf/train_sv_${config}.yaml" --sv_args "$* --seed ${seed}" \
    --asr_model "${model}" --ngpu 0 --nj 1 \
    --train_set "fold${fold}_train" --valid_set "fold${fold}_valid" \
    --test_sets "fold${fold}_test fold${fold}_test4" \
    --score_norm "${norm}" --top_n 200 --score_norm_args "--cohort_by utterance" \
    --results_layout "" > "${log}" 2>&1 || {
    tail -n 2 "${log}" 1>&2
    echo "train_system.sh: error: fold ${fold}, ${name}, seed ${seed} failed; log: ${log}" 1>&2
    exit 255 # xargs then stops starting jobs
}
echo "$(date '+%Y-%m-%dT%H:%M:%S') fold ${fold}, seed ${seed}: ${name} ($((SECONDS - start)) s)"
