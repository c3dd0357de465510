#!/usr/bin/env bash
# Recognition by a fold's ASR model with and without a speaker adaptor, which must not
# change it. Writes character and word error rates on clips of training characters
# (asr_test_seen) and of test characters (asr_test_unseen) to
# <expdir>/foldF/recognition/recognition.json:
#   greedy   best token of each frame, on both sets
#   beam     ESPnet's beam search with the decoder of the ASR model; slow
# and of other ASR models of the fold on the clips of test characters (greedy)
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh
. scripts/train_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
fold=1                   # [1|2|3]
model=                   # Adaptor (default: <expdir>/foldF/sv_adaptor_seed0).
asr=                     # Its ASR model (default: <expdir>/foldF/asr/asr.zip).
expdir=exp               # Directory of experiments.
clips=400                # Clips per set, at most; from all characters [>=1].
beam_sets=asr_test_seen  # Sets decoded with beam search, or none [any].
beam_size=3              # Beam size [>=1].
ctc_weight=0.5           # Weight of CTC scores in beam search.
others=                  # Other ASR models, e.g. "<expdir>/fold1/asr_real/asr.zip".
# END OPTIONS

help_message="Usage: $0 --fold F --model SV_EXP [options]

$(describe_options "$0")"

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "unexpected argument: $1 (see --help)"
. ./path.sh
. ./cmd.sh

model=${model:-${expdir}/fold${fold}/sv_adaptor_seed0}
asr=${asr:-${expdir}/fold${fold}/asr/asr.zip}
require_file "${asr}" "run.sh makes it; is --fold ${fold} right?"
inference_model=
weights=$(trained_weights "${model}")
dir=${expdir}/fold${fold}/recognition
beam=(--beam_size "${beam_size}" --ctc_weight "${ctc_weight}" --maxlenratio 1.0)

# choose_clips SET: writes wav.scp and text of ${clips} clips, spread evenly over the
# set
choose_clips() {
    local from=data/fold${fold}_$1 to=${dir}/$1 name
    awk -v most="${clips}" -v all="$(wc -l < "${from}/wav.scp")" \
        'all <= most || int(NR * most / all) > int((NR - 1) * most / all)' \
        "${from}/wav.scp" > "${to}/wav.scp"
    awk 'NR == FNR { chosen[$1]; next } $1 in chosen' "${to}/wav.scp" "${from}/text" \
        > "${to}/text"
}

# alone_greedy SET, alone_beam SET, joint SET DECODE OPTION...: write a text each
alone_greedy() {
    run_job "${decode_cmd}" "${dir}/$1/greedy/alone.log" python3 local/greedy_asr.py \
        --asr "${dir}/asr" --wav_scp "${dir}/$1/wav.scp" \
        --output "${dir}/$1/greedy/alone/text"
}

alone_beam() {
    run_job "${decode_cmd}" "${dir}/$1/beam/alone.log" python3 \
        -m espnet2.bin.asr_inference \
        --ngpu 0 --output_dir "${dir}/$1/beam/alone" "${beam[@]}" \
        --asr_train_config "${dir}/asr/config.yaml" \
        --asr_model_file "${dir}/asr/model.pth" \
        --data_path_and_name_and_type "${dir}/$1/wav.scp,speech,sound" \
        --key_file "${dir}/$1/wav.scp"
    mv "${dir}/$1/beam/alone/1best_recog/text" "${dir}/$1/beam/alone/text"
}

joint() { # batches of one clip, like the other side: rounding is then the same
    run_job "${decode_cmd}" "${dir}/$1/$2/joint.log" python3 \
        -m espnet2_sv.bin.sv_joint \
        --model "${model}" --asr "${dir}/asr" --decode "$2" "${@:3}" \
        --batch_seconds 0.01 \
        --wav_scp "${dir}/$1/wav.scp" --output_dir "${dir}/$1/$2/joint"
}

log "Recognition in fold ${fold}: ${dir}"
once "${dir}/asr" "${asr}" -- \
    run_job "${train_cmd}" "${dir}/resolve.log" python3 -m espnet2_sv.bin.asr_resolve \
    --asr "${asr}" --output_dir "${dir}/asr"
compared=()
for dset in asr_test_seen asr_test_unseen; do
    require_file "data/fold${fold}_${dset}/text" "local/data.sh makes it"
    once "${dir}/${dset}/text" "${clips}" "data/fold${fold}_${dset}"/{wav.scp,text} -- \
        choose_clips "${dset}"
    for decode in greedy beam; do
        [ "${decode}" = greedy ] || [[ " ${beam_sets} " == *" ${dset} "* ]] || continue
        options=()
        [ "${decode}" = greedy ] || options=("${beam[@]}")
        texts=("${dir}/${dset}/text" "${dir}/${dset}/${decode}"/{alone,joint}/text)
        once "${texts[1]}" "${asr}" "${dir}/${dset}/wav.scp" "${options[*]-}" -- \
            "alone_${decode}" "${dset}"
        once "${texts[2]}" "${asr}" "${weights}" "${dir}/${dset}/wav.scp" \
            "${options[*]-}" -- \
            joint "${dset}" "${decode}" ${options[@]+"${options[@]}"}
        compared+=(--compare "${dset}" "${decode}" "${texts[@]}")
    done
done
unseen=${dir}/asr_test_unseen
for other in ${others}; do
    require_file "${other}" "local/asr_models.sh makes it; or correct --others"
    name=$(basename "$(dirname "${other}")")
    text=${dir}/others/${name}/text
    once "${text}" "${other}" "${unseen}/wav.scp" -- \
        run_job "${decode_cmd}" "${dir}/others/${name}.log" python3 local/greedy_asr.py \
        --asr "${other}" --wav_scp "${unseen}/wav.scp" --output "${text}"
    compared+=(--other "${name}" "${unseen}/text" "${text}")
done
python3 local/error_rates.py "${compared[@]}" --output "${dir}/recognition.json"
