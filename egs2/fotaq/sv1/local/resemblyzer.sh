#!/usr/bin/env bash
# Scores the trials of a fold with Resemblyzer's pretrained encoder, a baseline trained
# on thousands of speakers. It is installed from PyPI into downloads/, not into the
# Python environment. The output has the layout of a speaker model's folder inference/:
#   <expdir>/foldF/resemblyzer/{foldF_test,foldF_test4}/{cosine,asnorm}/scores, system.json
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh
. scripts/score_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
fold=1          # [1|2|3]
expdir=exp      # Directory of experiments.
dumpdir=dump    # Directory of formatted data.
score_norm=true # Normalise scores, too (AS-norm).
top_n=200       # Cohort size: the most similar training utterances [>=1].
optional=false  # If Resemblyzer cannot be installed, warn and exit successfully.
# END OPTIONS

help_message="Usage: $0 --fold F [options]

$(describe_options "$0")"

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "unexpected argument: $1 (see --help)"
. ./path.sh
. ./cmd.sh

# Variables used by scripts/score_functions.sh
python=python3
data_feats=${dumpdir}/raw
inference_dir=${expdir}/fold${fold}/resemblyzer
cohort_set=fold${fold}_train
test_sets="fold${fold}_test fold${fold}_test4"
score_norm_args="--cohort_by utterance" # there are only 14 training voices

# Installed without dependencies: librosa and scipy are here already, and the wheels
# replace webrtcvad, which would have to be compiled.
packages="resemblyzer==0.1.4 webrtcvad-wheels==2.0.14.post1"
installed="${packages} for $(python3 -V)"
site=downloads/resemblyzer/$(echo "${installed}" | tr ' =' '_')

# install: installs the packages, unless another fold has just done so
install() {
    local part=downloads/resemblyzer/.part reason
    require_writable downloads/resemblyzer "the recipe's folder"
    lock downloads/resemblyzer/.lock "${site}"
    rm -rf "${part}" "${part}.log"
    if [ -d "${site}" ]; then
        unlock downloads/resemblyzer/.lock
        return
    fi
    # shellcheck disable=SC2086
    if ! python3 -m pip install --retries 1 --timeout 30 --no-deps \
        --target "${part}" ${packages} \
        > "${part}.log" 2>&1; then
        reason="pip cannot install ${packages} ($(tail -n 1 "${part}.log"))"
        rm -rf "${part}" "${part}.log"
        "${optional}" || die "${reason}; check the network, or skip it with --optional true"
        log "Warning: ${reason}; the results will not include Resemblyzer"
        exit 0
    fi
    mv -T "${part}" "${site}"
    rm -f "${part}.log"
    unlock downloads/resemblyzer/.lock
    require_file "${site}/resemblyzer/pretrained.pt" "delete ${site} and try again"
}

# list_utterances: writes the wav.scp of all test sets
list_utterances() {
    union_of_wav_scp "${sources[@]:0:2}" > "${inference_dir}/trials/wav.scp"
}

# embed NAME WAV_SCP ARGUMENT...: writes embeddings to ${inference_dir}/NAME
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
once "${inference_dir}/trials/wav.scp" "${sources[@]:0:2}" -- list_utterances
once "${inference_dir}/trials/xvector.scp" "${installed}" \
    "${inference_dir}/trials/wav.scp" \
    local/embed_resemblyzer.py -- \
    embed trials "${inference_dir}/trials/wav.scp" \
    --system "${inference_dir}/system.json"
! "${score_norm}" || once "${inference_dir}/cohort/xvector.scp" "${installed}" \
    "${sources[2]}" \
    local/embed_resemblyzer.py -- \
    embed cohort "${sources[2]}"
for dset in ${test_sets}; do
    score "${dset}"
    ! "${score_norm}" || normalise_scores "${dset}"
done
