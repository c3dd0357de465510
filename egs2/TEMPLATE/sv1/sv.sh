#!/usr/bin/env bash
# Speaker verification in ten stages; called by a recipe's run.sh with the names of its
# data sets. A stage that was killed is completed by the same call; a finished stage is
# skipped within seconds.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh
. scripts/data_functions.sh
. scripts/train_functions.sh
. scripts/score_functions.sh
. scripts/spk_options.sh

SECONDS=0

# BEGIN OPTIONS (--help prints what is between these marks)
# General configuration
stage=1               # Processes starts from the specified stage.
stop_stage=10000      # Processes is stopped at the specified stage.
skip_stages=          # Stages to skip, e.g. "1 3" [numbers].
skip_data_prep=false  # Skip data preparation (stages 1 to 3).
skip_train=false      # Skip training (stages 4 and 5).
skip_eval=false       # Skip embedding, scoring and metrics (stages 6 to 8).
skip_packing=false    # Skip packing (stage 9).
skip_upload_hf=true   # Skip uploading to a Hub repository (stage 10).
ngpu=1                # The number of GPUs per node ("0" uses CPU).
num_nodes=1           # The number of nodes [>=1].
nj=32                 # Processes per job that check and convert audio [>=1].
format_jobs=1         # Parallel jobs that check and convert audio [>=1].
gpu_inference=false   # Compute embeddings on GPUs.
inference_nj=1        # Parallel jobs that compute embeddings on CPUs [>=1].
dumpdir=dump          # Directory of formatted data.
expdir=exp            # Directory of experiments.
show_results=true     # Print exp/RESULTS.md after stage 8.
python=python3        # Python interpreter, e.g. "coverage run --append".

# Data preparation related
local_data_opts=      # Options passed to local/data.sh.
fs=16k                # Sampling rate.
audio_format=flac     # Format of converted audio [flac|wav].
format_args=          # Further arguments, e.g. "--convert_containers true".
allow_pipes=false     # Allow commands ("cmd |") in wav.scp and run them.
allow_speaker_overlap=false # Validate and calibrate on training speakers, too.
check_repeated=true   # Look for recordings with equal samples within and across sets.

# Pretrained ASR model related
asr_model=            # Zoo or Hub tag, packed zip, unpacked folder or exp folder.
local_asr_script=     # Script that makes the ASR model if asr_model is empty; called
                      # with the zip file to write.

# Speaker model related
sv_task=transfer      # [scratch|transfer|adaptor|distill]
sv_config=            # Training configuration (default: conf/train_sv_<sv_task>.yaml).
sv_args=              # Further training arguments, e.g. "--max_epoch 10".
init_sv=              # Fine-tune this speaker model, also on other speakers: zoo or Hub
                      # tag, packed zip, unpacked folder or exp folder. The task is that
                      # of the model; configuration: conf/train_sv_finetune.yaml.
sv_tag=               # Name of the experiment (default: from sv_config and sv_args).
sv_exp=               # Directory of the experiment (default: <expdir>/sv_<sv_tag>).
pretrained_model=     # Initial weights of training, as ESPnet's --init_param.
download_model=       # Evaluate this speaker model instead of training one: zoo or Hub
                      # tag, packed zip, unpacked folder or exp folder.
lmft_config=          # Configuration of large-margin fine-tuning (default: none).
lmft_args=            # Further arguments for fine-tuning.
noise_scp=            # wav.scp of noises for augmentation.
rir_scp=              # wav.scp of room impulse responses for augmentation.

# Evaluation related
inference_args=       # Arguments for embedding, e.g. "--dtype bfloat16".
inference_config=     # YAML file of such arguments, e.g. "dtype: bfloat16".
inference_model=      # Weights (default: valid.eer.ave.pth or valid.eer.best.pth).
score_norm=false      # Normalise scores (AS-norm).
cohort_set=           # Cohort of training speakers for AS-norm (default: train_set).
top_n=300             # Cohort size: the most similar speakers [>=1].
score_norm_args=      # Further arguments for AS-norm, e.g. "--ngpu 1".
calibrate=false       # Calibrate scores to log-likelihood ratios; uses durations, too.
calib_set=            # Set for calibration and threshold (default: valid_set).
results_layout=       # YAML layout of exp/RESULTS.md, see sv_results --help.
calibrate_args=       # Further arguments for calibration, e.g. "--p_target 0.05".
asr_sets=             # Adaptors only: sets with text, to recognise with and without.
asr_decode_config=conf/decode_asr.yaml # Options of ESPnet's beam search for asr_sets.

# [Task dependent] Folders in data/, made by local/data.sh
train_set=            # Training set.
valid_set=            # Validation set with trials; speakers held out of training.
test_sets=            # Test sets with trials, e.g. "test_a test_b".

# Upload model related
pack_args=            # What the model card says, e.g. "--license cc-by-4.0 --language en".
hf_repo=              # ORGANISATION/NAME

# Names that ESPnet's spk.sh has for options above (README.md, "Coming from spk1")
spk_config=           # The same as sv_config.
spk_args=             # The same as sv_args.
spk_tag=              # The same as sv_tag.
spk_exp=              # The same as sv_exp.
qmf_func=             # The same as calibrate [true|false].
# END OPTIONS

help_message="Usage: $0 --train_set NAME --valid_set NAME --test_sets \"NAME NAME\"

$(describe_options "$0")"

log "$0 $*"
take_spk_options "$@"
set -- ${arguments[@]+"${arguments[@]}"}
. utils/parse_options.sh
take_spk_names

[ $# -eq 0 ] || die "unexpected argument: $1 (see --help)"
needed=(train_set valid_set test_sets)
if [ -n "${download_model}" ]; then # what is made of it needs only these
    needed=(test_sets)
    ! "${calibrate}" || [ -n "${calib_set}" ] || needed+=(valid_set)
    ! "${score_norm}" || [ -n "${cohort_set}" ] || needed+=(train_set)
    [ -z "${inference_model}" ] || die "--inference_model: the weights of --download_model are used"
    [ -z "${init_sv}" ] || die "--init_sv trains a model and --download_model does not: give one of them"
fi
for _name in "${needed[@]}"; do
    [ -n "${!_name}" ] || die "--${_name} is required"
done
[ "${stage}" -le 10 ] && [ "${stage}" -le "${stop_stage}" ] \
    || die "--stage ${stage} --stop_stage ${stop_stage}: there is no stage to run"
sample_rate=${fs/%k/000} # e.g. 16k or 16000
[[ ${sample_rate} =~ ^[1-9][0-9]*$ ]] || die "--fs ${fs}: write 16k or 16000"

export python # for local/data.sh and local_asr_script
. ./path.sh || die "no Python environment (see above)"
. ./cmd.sh || die "cmd_backend in cmd.sh is unusable (see above)"
for _name in train_cmd cuda_cmd decode_cmd; do
    _word=${!_name%% *}
    command -v "${_word}" > /dev/null || die "${_name} in cmd.sh: ${_word} is not on PATH"
done

# Names derived from the options
data_feats=${dumpdir}/raw
if [ -n "${init_sv}" ]; then
    sv_config=${sv_config:-conf/train_sv_finetune.yaml}
fi
sv_config=${sv_config:-conf/train_sv_${sv_task}.yaml}
cohort_set=${cohort_set:-${train_set}}
calib_set=${calib_set:-${valid_set}}
if [ -n "${download_model}" ]; then
    sv_tag=${sv_tag:-$(name_of_source "${download_model}")}
    skip_train=true
    lmft_config=
fi
if [ -z "${sv_tag}" ]; then
    sv_tag=${sv_config##*/}
    sv_tag=${sv_tag%.yaml}
    sv_tag=${sv_tag#train_sv_}
    if [ -n "${init_sv}" ]; then
        # e.g. exp/sv_transfer/sv_transfer.zip becomes _transfer
        _word=${init_sv%/}
        _word=$(name_of_source "${_word##*/}")
        sv_tag+=_${_word#sv_}
    fi
    # e.g. "--max_epoch 2" becomes _max_epoch2
    sv_tag+=$(echo "${sv_args}" | sed -e 's/--/_/g' -e 's/[^A-Za-z0-9_.,:+%@^-]//g')
    sv_tag+=${pretrained_model:+_pretrained}
    sv_tag=$(shorten "${sv_tag}" "${sv_args}")
fi
sv_args+=${pretrained_model:+ --init_param ${pretrained_model}}
sv_exp=${sv_exp:-${expdir}/sv_${sv_tag}}
sv_exp=${sv_exp%/}
if [ -z "${asr_model}" ] && [ -n "${local_asr_script}" ]; then
    asr_model=${expdir}/asr_local/asr.zip
    make_asr=true
else
    make_asr=false
fi
asr_dir=${expdir}/pretrained_$(basename "${asr_model:-none}" .zip | tr -c 'A-Za-z0-9_.\n-' _)
asr_dir+=_$(echo "${asr_model}" | cksum | cut -d " " -f 1)
# Where stage 2 puts the model of --init_sv
_word=${init_sv%/}
init_dir=${expdir}/init_$(shorten "$(name_of_source "${_word##*/}")")
init_dir+=_$(echo "${init_sv}" | cksum | cut -d " " -f 1)

# These become names of logs, which Kaldi's job programs give to a shell as they are
_unsafe="[][:space:]\"'\`\$\\&|;<>(){}*?!#~[]"
for _name in dumpdir expdir sv_exp train_set valid_set calib_set cohort_set test_sets; do
    _word=${!_name}
    [ "${_name}" != test_sets ] || _word=${_word// /}
    [[ ! ${_word} =~ ${_unsafe} ]] \
        || die "--${_name} ${!_name@Q}: use no blanks and no characters that a shell interprets"
done

"${skip_data_prep}" && skip_stages+=" 1 2 3"
"${skip_train}" && skip_stages+=" 4 5"
[ -z "${download_model}" ] || skip_stages+=" 2"
"${skip_eval}" && skip_stages+=" 6 7 8"
"${skip_packing}" && skip_stages+=" 9"
"${skip_upload_hf}" && skip_stages+=" 10"
[ "${sv_task}" != scratch ] || [ -n "${init_sv}" ] || skip_stages+=" 2"
[ -n "${lmft_config}" ] || skip_stages+=" 5"

runs() { # whether to run stage $1
    [ "${stage}" -le "$1" ] && [ "${stop_stage}" -ge "$1" ] &&
        [[ " ${skip_stages} " != *" $1 "* ]]
}

# What would stop a later stage stops before the first
if runs 2 && [ -z "${asr_model}${init_sv}" ]; then
    die "--asr_model is required for --sv_task ${sv_task}; scratch and --init_sv need none"
fi
! runs 4 || require_file "${sv_config}" "give the training configuration with --sv_config"
! runs 5 || require_file "${lmft_config}" "see --lmft_config"
if runs 4 || runs 5 || { runs 6 && "${gpu_inference}"; }; then
    require_gpus "${ngpu}"
fi

if runs 1; then
    log "Stage 1: Data preparation: local/data.sh"
    [ -x local/data.sh ] || die "local/data.sh is missing or not executable"
    # shellcheck disable=SC2086
    local/data.sh ${local_data_opts}
fi

require_writable "${dumpdir}" --dumpdir
require_writable "${expdir}" --expdir

if runs 2 && [ -n "${init_sv}" ]; then
    log "Stage 2: Speaker model to fine-tune: ${init_sv} -> ${init_dir}"
    asr_of_init= # of an adaptor; by default the one that it was trained on
    "${make_asr}" || asr_of_init=${asr_model}
    ${python} -m espnet2_sv.bin.sv_resolve --model "${init_sv}" --output_dir "${init_dir}" \
        ${asr_of_init:+--asr "${asr_of_init}"}
    require_rate "${init_dir}" "${init_sv}"
elif runs 2; then
    log "Stage 2: Pretrained ASR model: ${asr_model} -> ${asr_dir}"
    if "${make_asr}"; then
        "${local_asr_script}" "${asr_model}"
    fi
    ${python} -m espnet2_sv.bin.asr_resolve --asr "${asr_model}" --output_dir "${asr_dir}"
    require_rate "${asr_dir}" "${asr_model}"
fi

if runs 3; then
    log "Stage 3: Check and format: data/ -> ${data_feats}/"
    check_held_out
    format_sets
    compare_sets
fi

# One run at a time works on an experiment. The lock file is deleted at the end of a
# complete run only: a killed run may leave processes that still hold the lock.
if [ "${stop_stage}" -ge 4 ]; then
    set_hidden "${sv_exp}" run.lock
    exp_lock=${hidden}
    make_folder_of "${exp_lock}"
    lock "${exp_lock}" "${sv_exp}"
fi

if [ -n "${download_model}" ] && [ "${stop_stage}" -ge 4 ]; then
    log "Downloaded model: ${download_model} -> ${sv_exp}"
    ${python} -m espnet2_sv.bin.sv_resolve --model "${download_model}" --output_dir "${sv_exp}"
    require_rate "${sv_exp}" "${download_model}"
    sv_task=$(about_model "${sv_exp}" task)
    asr_dir=${sv_exp}/asr # of an adaptor
elif [ -n "${init_sv}" ] && [ "${stop_stage}" -ge 4 ]; then
    require_file "${init_dir}/source.json" "run stage 2 first (--init_sv)"
    sv_task=$(about_model "${init_dir}" task)
    [ "${sv_task}" != spk ] || die "--init_sv ${init_sv}: is a model of ESPnet's own speaker" \
        "task; its spk_train fine-tunes it"
    asr_dir=${init_dir}/asr # of an adaptor
fi
train_module=sv_${sv_task}_train
[ "${sv_task}" != scratch ] || train_module=sv_train

train_files=("${data_feats}/${train_set}"/{wav.scp,spk2utt})
train_files+=("${data_feats}/${valid_set}"/{wav.scp,trials})
[ -z "${noise_scp}" ] || train_files+=("${noise_scp}")
[ -z "${rir_scp}" ] || train_files+=("${rir_scp}")
for _word in ${pretrained_model}; do # e.g. exp/sv_old/valid.eer.ave.pth:head:head
    train_files+=("${_word%%:*}")
done

if runs 4; then
    log "Stage 4: Training (${sv_task}): ${sv_exp}"
    if [ -n "${init_sv}" ]; then
        init=(--init_sv "${init_dir}")
        [ "${sv_task}" != adaptor ] || init+=(--asr "${asr_dir}")
        train_once "${sv_exp}" "${sv_config}" "${sv_args}" "${init_dir}/source.json" \
            "${init[@]}"
    elif [ "${sv_task}" = scratch ]; then
        train_once "${sv_exp}" "${sv_config}" "${sv_args}" ""
    else
        require_file "${asr_dir}/meta.yaml" "run stage 2 first (--asr_model)"
        train_once "${sv_exp}" "${sv_config}" "${sv_args}" "${asr_dir}/source.json" \
            --asr "${asr_dir}"
    fi
fi

if runs 5; then
    log "Stage 5: Large-margin fine-tuning: ${sv_exp} -> ${sv_exp}_lmft"
    start=$(trained_weights "${sv_exp}")
    init=(--init_sv "${sv_exp}")
    [ "${sv_task}" != adaptor ] || init+=(--asr "${asr_dir}") # frozen, not in ${sv_exp}
    train_once "${sv_exp}_lmft" "${lmft_config}" "${lmft_args}" "${start}" "${init[@]}"
fi
[ -z "${lmft_config}" ] || sv_exp+=_lmft

# Results of stages 6 to 8: a folder per set, and embeddings in trials/ and cohort/
inference_dir=${sv_exp}/inference${inference_model:+_${inference_model%.pth}}
trial_sets=$(echo "${test_sets} ${calib_set}" | tr ' ' '\n' | awk 'NF && !seen[$0]++')

if runs 6; then
    log "Stage 6: Embeddings: ${inference_dir}"
    weights=$(trained_weights "${sv_exp}")
    [ -z "${inference_config}" ] || require_file "${inference_config}" "see --inference_config"
    sources=()
    for dset in ${trial_sets}; do
        require_file "${data_feats}/${dset}/wav.scp" "run stage 3 first"
        sources+=("${data_feats}/${dset}/wav.scp")
    done
    model=$(fingerprint "${weights}" "${sv_exp}/config.yaml" "${inference_args}" \
        ${inference_config:+"${inference_config}"})
    # Embeddings of another model, and what was made of them, stay until these are whole
    complete_dir=${inference_dir}
    restore_folder "${complete_dir}"
    set_hidden "${complete_dir}" part
    new_dir=${hidden}
    if was_made_from "${complete_dir}/.begun" "${model}"; then
        rm -rf "${new_dir}"
    else
        inference_dir=${new_dir}
        once "${new_dir}/.begun" "${model}" -- begin_folder "${new_dir}"
    fi
    outputs=("${inference_dir}/trials/xvector.scp" --and "${inference_dir}/model.json")
    if "${score_norm}"; then
        cohort=${data_feats}/${cohort_set}/wav.scp
        require_file "${cohort}" "run stage 3 first (--cohort_set)"
        outputs+=(--and "${inference_dir}/cohort/xvector.scp")
        sources+=("${cohort}")
    fi
    # shellcheck disable=SC2086
    once "${outputs[@]}" "${model}" "${sources[@]}" -- embed ${trial_sets}
    if [ "${sv_task}" = adaptor ]; then
        for dset in ${asr_sets}; do
            recognise_alone "${dset}"
            recognise_jointly "${dset}" "${model}"
        done
    fi
    if [ "${inference_dir}" = "${new_dir}" ]; then
        replace_inference "${new_dir}" "${complete_dir}"
        inference_dir=${complete_dir}
    fi
fi

# Scores and metrics: ${inference_dir}/SET/KIND; KIND is cosine or asnorm, or these
# _calibrated
kinds=cosine
! "${score_norm}" || kinds+=" asnorm"

if runs 7; then
    log "Stage 7: Scores: ${inference_dir}"
    require_file "${inference_dir}/trials/xvector.scp" "run stage 6 first"
    for dset in ${trial_sets}; do
        require_file "${data_feats}/${dset}/trials" "run stage 3 first"
        score "${dset}"
        ! "${score_norm}" || normalise_scores "${dset}"
    done
    if "${calibrate}"; then
        for kind in ${kinds}; do
            # shellcheck disable=SC2086
            calibrate_scores "${kind}" ${test_sets}
        done
    fi
fi
! "${calibrate}" || kinds+=" ${kinds// /_calibrated }_calibrated"

results=${expdir}/RESULTS.md
espnet_results=${expdir}/RESULTS_espnet.md # for the README.md of a recipe in ESPnet
if runs 8; then
    log "Stage 8: Metrics: ${results}, ${espnet_results}"
    for dset in ${test_sets}; do
        # shellcheck disable=SC2086
        measure "${dset}" ${kinds}
    done
    [ -z "${calib_set}" ] || choose_threshold
    describe_system
    # of concurrent runs, the last one writes the complete table
    lock "${expdir}/.results.lock" "${results}"
    write_results "${sv_exp}/RESULTS.md" "" "" "${inference_dir}" # packed with the model
    write_all_results "${results}" "${espnet_results}"
    ! "${show_results}" || cat "${results}"
    unlock "${expdir}/.results.lock"
fi

packed=${sv_exp}/${sv_exp##*/}.zip
if runs 9 && [ -n "${download_model}" ] && [ "${sv_task}" = spk ]; then
    log "Stage 9: Packing: skipped: ${download_model} is a model of ESPnet's own speaker task"
elif runs 9 && [ -n "${download_model}" ] && ! "${calibrate}"; then
    log "Stage 9: Packing: skipped: there is nothing to add to ${download_model};" \
        "--calibrate true adds a calibration"
elif runs 9; then
    log "Stage 9: Packing: ${packed}"
    weights=$(trained_weights "${sv_exp}")
    metrics=("${inference_dir}"/*/*/metrics.json)
    [ -e "${metrics[0]}" ] || metrics=()
    # shellcheck disable=SC2086
    once "${packed}" "${weights}" "${pack_args}" "${metrics[@]}" \
        "${sv_exp}"/{config.yaml,RESULTS.md,calibration.json,threshold.json} -- \
        run_job "${train_cmd}" "${sv_exp}/pack.log" ${python} \
        -m espnet2_sv.bin.sv_pack \
        --exp "${sv_exp}" --output "${packed}" --model_file "${weights}" \
        ${metrics:+--metrics "${metrics[@]}"} ${pack_args}
fi

if runs 10; then
    log "Stage 10: Upload to the Hub: ${hf_repo}"
    [ -n "${hf_repo}" ] || die "--hf_repo ORGANISATION/NAME is required for the upload"
    require_file "${packed}" "run stage 9 first"
    ${python} -m espnet2_sv.bin.sv_upload --zip "${packed}" --repo "${hf_repo}"
    write_file "${sv_exp}/hub.json" echo "{\"repo\": \"${hf_repo}\"}"
    if [ -e "${results}" ]; then # with the link
        lock "${expdir}/.results.lock" "${results}"
        write_all_results "${results}" "${espnet_results}"
        unlock "${expdir}/.results.lock"
    fi
fi

[ "${stop_stage}" -lt 4 ] || rm -f "${exp_lock}"
log "Successfully finished. [elapsed=${SECONDS}s]"
