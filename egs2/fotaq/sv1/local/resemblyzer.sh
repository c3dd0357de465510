#!/usr/bin/env bash
# Resemblyzer's pretrained encoder on a fold's trials: a system to compare with, which has been
# trained on thousands of speakers. It comes from PyPI and is put into downloads/, not into the
# Python environment. What it makes is laid out like a speaker model's folder inference/:
#   <expdir>/foldF/resemblyzer/{foldF_test,foldF_test4}/{cosine,asnorm}/scores, system.json
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh
. scripts/score_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
fold=1          # 1, 2 or 3
expdir=exp      # Directory of experiments.
dumpdir=dump    # Directory of formatted data.
score_norm=true # Whether to do AS-norm, too.
top_n=200       # Size of AS-norm's cohort: the most similar training utterances.
optional=false  # Where PyPI gives no Resemblyzer, say so and end as if all were well.
# END OPTIONS

help_message="Usage: $0 --fold F [options]

$(describe_options "$0")"

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "no positional arguments are understood: $1 (see --help)"
. ./path.sh
. ./cmd.sh

# The names by which the functions of scripts/score_functions.sh know them
python=python3
data_feats=${dumpdir}/raw
inference_dir=${expdir}/fold${fold}/resemblyzer
cohort_set=fold${fold}_train
test_sets="fold${fold}_test fold${fold}_test4"
score_norm_args="--cohort_by utterance" # 14 training voices would be no cohort

# Without their dependencies: those that are used, librosa and scipy, are here; and in place of
# webrtcvad, which has to be compiled, the same module already compiled.
packages="resemblyzer==0.1.4 webrtcvad-wheels==2.0.14.post1"
installed="${packages} for $(python3 -V)"
site=downloads/resemblyzer/$(echo "${installed}" | tr ' =' '_')

# install: gets the packages, as may another fold's call at the same time; says what to do where
# it cannot
install() {
    local part=downloads/resemblyzer/.part.$$ reason
    require_writable downloads/resemblyzer "the recipe's folder"
    # shellcheck disable=SC2086
    if ! python3 -m pip install --retries 1 --timeout 30 --no-deps --target "${part}" ${packages} \
        > "${part}.log" 2>&1; then
        reason="pip cannot install ${packages} ($(tail -n 1 "${part}.log"))"
        rm -rf "${part}" "${part}.log"
        "${optional}" || die "${reason}; check the network, or go on without: --optional true"
        log "Warning: ${reason}; there will be no row for Resemblyzer"
        exit 0
    fi
    mv -T "${part}" "${site}" 2> /dev/null || true # fails where another call was quicker
    rm -rf "${part}" "${part}.log"
    require_file "${site}/resemblyzer/pretrained.pt" "Resemblyzer's weights belong there"
}

# embed NAME WAV_SCP ARGUMENT...: embeddings in ${inference_dir}/NAME
embed() {
    local dir=${inference_dir}/$1
    run_job "${decode_cmd}" "${dir}/embed.log" \
        env PYTHONPATH="${site}${PYTHONPATH:+:${PYTHONPATH}}" "${python}" \
        local/embed_resemblyzer.py --wav_scp "$2" --output_dir "${dir}" "${@:3}"
}

sources=()
for dset in ${test_sets} "${cohort_set}"; do
    require_file "${data_feats}/${dset}/wav.scp" "run.sh makes it; is --fold ${fold} right?"
    sources+=("${data_feats}/${dset}/wav.scp")
done
[ -d "${site}" ] || install

log "Resemblyzer on fold ${fold}: ${inference_dir}"
mkdir -p "${inference_dir}/trials"
union_of_wav_scp "${sources[@]:0:2}" > "${inference_dir}/trials/wav.scp"
once "${inference_dir}/trials/xvector.scp" "${installed}" "${inference_dir}/trials/wav.scp" \
    local/embed_resemblyzer.py -- \
    embed trials "${inference_dir}/trials/wav.scp" --system "${inference_dir}/system.json"
! "${score_norm}" || once "${inference_dir}/cohort/xvector.scp" "${installed}" "${sources[2]}" \
    local/embed_resemblyzer.py -- \
    embed cohort "${sources[2]}"
for dset in ${test_sets}; do
    score "${dset}"
    ! "${score_norm}" || normalise_scores "${dset}"
done
