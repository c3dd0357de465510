#!/usr/bin/env bats
# scripts/data_functions.sh and scripts/train_functions.sh

setup() {
    cd "${BATS_TEST_TMPDIR}" || return 1
    template="${BATS_TEST_DIRNAME}/../../egs2/TEMPLATE/sv1"
    export PATH="${template}/utils:${PATH}"
    cat > call.sh <<CALL
set -euo pipefail
. "${template}/scripts/stage_functions.sh"
. "${template}/scripts/data_functions.sh"
. "${template}/scripts/train_functions.sh"
train_cmd=run.pl nj=1 format_jobs=3 data_feats=dump
"\$@"
CALL
}

@test "work is split into jobs, each with its part" {
    run bash call.sh run_split check echo looks
    [ "$status" -eq 0 ]
    [ "$(cat dump/logs/check.*.log | grep -c '^looks --shard ./3$')" -eq 3 ]
}

@test "trials may be a list, or the files of a spk1 recipe" {
    mkdir -p data/{list,files,none}
    echo "a b target" > data/list/trials
    echo "a*b 1" | tee data/list/trial_label > data/files/trial_label
    for name in list files; do
        bash call.sh require_trials "${name}"
    done
    bash call.sh has_spk1_trials files
    run bash call.sh has_spk1_trials list
    [ "$status" -eq 1 ]
    run bash call.sh require_trials none
    [ "$status" -eq 1 ]
    [[ "$output" == "call.sh: error: data/none/trials is missing"*"trial_label of a spk1 recipe" ]]
}

@test "the problems that a job finds are shown, and are fatal" {
    cat > look.sh <<'LOOK'
[ "$2" != 2/3 ] || { echo "wav.scp: utterance b: is empty"; echo "error: 1 problem(s)"; exit 1; }
LOOK
    run bash call.sh run_split check bash look.sh
    [ "$status" -eq 1 ]
    [[ "$output" == *"wav.scp: utterance b: is empty"* ]]
    [[ "$output" == *"error: 1 problem(s)"* ]]
}

sets_of_a_recipe() { # and a Python that notes its words; held-out sets of "bad" fail
    mkdir -p data/{train,valid,test,other,cohort} fake
    for name in train valid test other cohort; do
        echo "${name}-1 ${name}" | tee "data/${name}/wav.scp" > "data/${name}/utt2spk"
        mkdir -p "dump/${name}"
        cp "data/${name}"/* "dump/${name}"
    done
    cat > fake/python <<'PYTHON'
#!/usr/bin/env bash
echo "${*:2}" >> calls
[[ $* != *"data/bad"* ]] || { echo "speaker amy is also in training" && exit 1; }
PYTHON
    chmod +x fake/python
    sed -i '$d' call.sh
    cat >> call.sh <<'CALL'
python=fake/python train_set=train valid_set=valid calib_set=valid test_sets="test other"
cohort_set=train score_norm=true skip_train=false skip_eval=false download_model=
allow_pipes=false check_repeated=true allow_speaker_overlap=${allow:-false} sample_rate=8000
eval "${also:-}"
"$@"
CALL
}

@test "a held-out set that shares speakers is refused before anything is converted" {
    sets_of_a_recipe
    bash call.sh check_held_out
    bash call.sh check_held_out # once is enough
    [ "$(wc -l < calls)" -eq 1 ]
    grep -q "sv_check_data data/valid .*--against data/train .*--allow_overlap none" calls
    allow=true bash call.sh check_held_out
    grep -q "sv_check_data data/valid .*--against data/train .*--allow_overlap speakers" calls
    cp -r data/valid data/bad
    also="valid_set=bad" run bash call.sh check_held_out
    [ "$status" -eq 1 ]
    [[ "$output" == *"speaker amy is also in training"*"--allow_speaker_overlap true"* ]]
    rm calls # a model from elsewhere was not trained on this set
    also="download_model=a.zip valid_set=bad" bash call.sh check_held_out
    [ ! -e calls ]
}

@test "test sets are compared with training, calibration and cohort, and with nothing that is not there" {
    sets_of_a_recipe
    bash call.sh compare_sets
    bash call.sh compare_sets
    [ "$(wc -l < calls)" -eq 4 ]
    grep -q "sv_check_data dump/valid .*--allow_overlap none --against dump/train --against_names training$" calls
    for name in test other; do
        grep -q "dump/${name} .*--allow_overlap all --against dump/train dump/valid --against_names training calibration$" calls
    done
    [ "$(grep -c "sv_check_data dump/train .*--against" calls)" -eq 0 ]
    rm calls
    also="cohort_set=cohort" bash call.sh compare_sets
    grep -q "dump/test .*--against dump/train dump/valid dump/cohort --against_names training calibration the cohort$" calls
    rm calls
    also="download_model=a.zip calib_set= cohort_set= score_norm=false" bash call.sh compare_sets
    grep -q "dump/test" calls
    [ "$(grep -c -e "--against" calls)" -eq 0 ]
    echo "test: 1 of 1 speaker was also in training" > dump/test/overlap
    : > dump/valid/overlap
    run bash call.sh eval 'notes_of test; echo "${notes[@]}"'
    [ "$output" = dump/test/overlap ]
}

@test "a training that was killed in an epoch is not mixed with other settings" {
    mkdir exp
    bash call.sh begin_training exp "lr: 1"
    echo weights > exp/checkpoint.safe.pth # of the first epoch; the second was under way
    run bash call.sh begin_training exp "lr: 2"
    [ "$status" -eq 1 ]
    [[ "$output" == *"> lr: 2"* ]]
    [[ "$output" == *"exp was started with other settings"* ]]
    bash call.sh begin_training exp "lr: 1"
}

@test "a training that was killed in its first epoch can be started with other settings" {
    mkdir exp
    bash call.sh begin_training exp "lr: 1"
    : > exp/checkpoint.first_epoch
    echo half > exp/checkpoint.pth
    bash call.sh begin_training exp "lr: 2"
    [ "$(cat exp/.settings)" = "lr: 2" ]
}

@test "once a set is refused, the others are checked and not converted" {
    sets_of_a_recipe
    rm -r dump
    cat > fake/python <<'PYTHON'
#!/usr/bin/env bash
echo "${*:2}" >> calls
case $* in
    *"sv_check_data data/"*) name=${3#data/} && [[ " ${bad} " != *" ${name} "* ]] ||
        { echo "${name}1: is empty" && exit 1; } ;;
    *sv_format_wav*) name=${4#data/} && mkdir -p "dump/${name}" && touch "dump/${name}/wav.scp" ;;
esac
PYTHON
    for name in valid test other; do
        cp data/train/utt2spk "data/${name}/trials"
    done
    also="format_jobs=1 audio_format=flac format_args=" && export also
    bad="valid other" run bash call.sh format_sets
    [ "$status" -eq 1 ]
    [[ "$output" == *"valid1: is empty"*"other1: is empty"*"data/valid data/other: refused"* ]]
    [ "$(grep -c sv_check_data calls)" -eq 4 ]
    [ "$(echo dump/*/wav.scp)" = dump/train/wav.scp ] # before the first that is refused
    rm calls
    bad="" bash call.sh format_sets
    [ "$(grep -c sv_format_wav calls)" -eq 3 ] # train is up to date
}

@test "the ASR model alone is run by the command of its task" {
    cat > fake_python <<'PYTHON'
#!/usr/bin/env bash
echo "${*:2}" >> calls
[ "$*" != "scripts/read_config.py get sv/config.yaml lang_sym" ] || echo "<eng>"
mkdir -p out/set/asr_alone/1best_recog
echo "a <eng>hello" > out/set/asr_alone/1best_recog/text
echo "a hello" > out/set/asr_alone/1best_recog/text_nospecial
PYTHON
    chmod +x fake_python
    mkdir -p data/set asr
    echo a | tee data/set/text data/set/wav.scp > decode.yaml
    sed -i '$d' call.sh
    cat >> call.sh <<CALL
. "${template}/scripts/score_functions.sh"
decode_cmd=run.pl python=./fake_python inference_dir=out asr_dir=asr asr_decode_config=decode.yaml sv_exp=sv
"\$@"
CALL
    printf 'files:\n  asr_model_file: model.pth\nyaml_files:\n  asr_train_config: config.yaml\n' \
        > asr/meta.yaml
    bash call.sh recognise_alone set
    grep -q "^espnet2.bin.asr_inference .*--asr_train_config asr/config.yaml --asr_model_file asr/model.pth" calls
    [ "$(cat out/set/asr_alone/1best_recog/text)" = "a <eng>hello" ]
    sed -i 's/asr_/s2t_/' asr/meta.yaml
    echo other > asr/source.json
    bash call.sh recognise_alone set
    grep -q "^espnet2.bin.s2t_inference .*--s2t_train_config asr/config.yaml --s2t_model_file asr/model.pth" calls
    [ "$(cat out/set/asr_alone/1best_recog/text)" = "a hello" ]
    echo "model: espnet_ctc" > asr/config.yaml # OWSM-CTC
    echo another > asr/source.json
    bash call.sh recognise_alone set
    grep -q "^espnet2.bin.s2t_inference_ctc --config out/set/asr_alone/decode.yaml .*--s2t_train_config .* --lang_sym eng$" calls
    [ "$(cat out/set/asr_alone/1best_recog/text)" = "a hello" ]
}
