#!/usr/bin/env bash
# Verification accuracy of each block of a fold's ASR encoder without speaker training,
# and of those of lower quality: reports of sv_layer_probe in
# <expdir>/foldF/probe/{asr,asr_real,asr_early,asr_random}. local/plot_probes.py plots
# all folds.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
fold=1              # [1|2|3]
asr=                # Trained model (default: <expdir>/foldF/asr/asr.zip).
doses=true          # Probe asr_real and asr_early, too.
asr_real=           # From real speech alone (default: <expdir>/foldF/asr_real/asr.zip).
asr_early=          # Early in that (default: <expdir>/foldF/asr_early/asr.zip).
asr_random=         # Untrained model (default: <expdir>/foldF/asr_random/seed0.zip).
expdir=exp          # Directory of experiments.
dumpdir=dump        # Directory of formatted data.
bootstrap_samples=0 # Bootstrap samples for confidence intervals per fold; 0: none.
# END OPTIONS

help_message="Usage: $0 --fold F [options]

$(describe_options "$0")"

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "unexpected argument: $1 (see --help)"
. ./path.sh
. ./cmd.sh

dir=${expdir}/fold${fold}
asr=${asr:-${dir}/asr/asr.zip}
asr_real=${asr_real:-${dir}/asr_real/asr.zip}
asr_early=${asr_early:-${dir}/asr_early/asr.zip}
asr_random=${asr_random:-${dir}/asr_random/seed0.zip}
test_set=${dumpdir}/raw/fold${fold}_test
train_set=${dumpdir}/raw/fold${fold}_train
kinds=(asr asr_random)
! "${doses}" || kinds=(asr asr_real asr_early asr_random)
files=("${test_set}"/{wav.scp,trials,utt2spk} "${train_set}/wav.scp")
for kind in "${kinds[@]}"; do
    files+=("${!kind}")
done
for file in "${files[@]}"; do
    require_file "${file}" "run.sh makes it; is --fold ${fold} right?"
done

log "Block probes of fold ${fold}: ${dir}/probe"
for kind in "${kinds[@]}"; do
    to=${dir}/probe/${kind}
    # embeddings are standardised with statistics of the training characters
    once "${to}/layer_probe.json" "${!kind}" "${test_set}"/{wav.scp,trials,utt2spk} \
        "${train_set}/wav.scp" "${bootstrap_samples}" -- \
        run_job "${decode_cmd}" "${to}.log" python3 -m espnet2_sv.bin.sv_layer_probe \
        --asr "${!kind}" --wav_scp "${test_set}/wav.scp" --trials "${test_set}/trials" \
        --utt2spk "${test_set}/utt2spk" --norm_wav_scp "${train_set}/wav.scp" \
        --bootstrap_samples "${bootstrap_samples}" \
        --title "Fold ${fold}: blocks of ${kind}" \
        --output_dir "${to}"
done
