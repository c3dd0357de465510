#!/usr/bin/env bats
# All stages of sv.sh with a fake Python: mistakes, kills, Ctrl-C, full disks, two runs
# shellcheck disable=SC2016  # words that must not be expanded

setup() {
    root=$(cd "${BATS_TEST_DIRNAME}/../.." && pwd -P)
    mkdir -p "${BATS_TEST_TMPDIR}"/{project/egs2,fake,tmp}
    export TMPDIR=${BATS_TEST_TMPDIR}/tmp
    cd "${BATS_TEST_TMPDIR}/project" || return 1
    cp -r "${root}/egs2/TEMPLATE" egs2/
    mkdir tools
    cp "${root}"/tools/*.* tools/
    ln -s "${root}/espnet2_sv" .
    egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1
    cd egs2/corpus/sv1 || return 1
    cp "${BATS_TEST_DIRNAME}/fake/python3" "${BATS_TEST_TMPDIR}/fake/"
    printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v python3)" \
        > "${BATS_TEST_TMPDIR}/fake/real"
    chmod +x "${BATS_TEST_TMPDIR}/fake/real"
    python3 -c 'import sys, zipfile
zipfile.ZipFile(sys.argv[1], "w").writestr("data", "weights" * 100)' \
        "${BATS_TEST_TMPDIR}/some.zip"
    # path.sh sources this last
    printf '[[ ${PATH} == "%s":* ]] || PATH=%s:${PATH}\n' \
        "${BATS_TEST_TMPDIR}/fake" "${BATS_TEST_TMPDIR}/fake" > local/path.sh
    cat > local/data.sh <<'DATA'
#!/usr/bin/env bash
set -euo pipefail
. scripts/stage_functions.sh
make() {
    local name file
    for name in train valid test asr_train; do
        mkdir -p "data/${name}"
        for file in wav.scp utt2spk spk2utt trials text; do
            printf "${name}%d line\n" {1..100} > "data/${name}/${file}"
        done
    done
}
once data/test/trials -- make
DATA
    echo "{}" | tee conf/train_asr.yaml > conf/train_sv_transfer.yaml
    call=(./sv.sh --local_asr_script scripts/pretrain_asr.sh --ngpu 0 --nj 1 --calibrate true
        --train_set train --valid_set valid --test_sets test --score_norm true)
    exp=exp/sv_transfer
}

state() { # the contents of all results, without logs and locks
    find data dump exp -type f ! -name '*.log' ! -name '*.lock' -exec cksum {} + | sort -k 3
}

leftovers() { # of what was under way
    find data dump exp -name '*.part*' -o -name '*.old' -o -name '.probe*'
}

# in_group COMMAND...: starts the command as a terminal does, in a process group of its
# own that Ctrl-C reaches; its id is in ${group}
in_group() {
    perl -e '$SIG{INT} = "DEFAULT"; setpgrp(0, 0); exec @ARGV' "$@" > output 2>&1 3>&- &
    group=$!
}

@test "all stages run, and are not run again" {
    run "${call[@]}"
    [ "$status" -eq 0 ]
    [ -e "${exp}/sv_transfer.zip" ] && [ -e "${exp}/calibration.json" ]
    [ -z "$(leftovers)" ]
    grep -q "^test1 ${exp}/inference/trials/xvector.ark:" "${exp}/inference/trials/xvector.scp"
    state > before
    rm calls
    "${call[@]}"
    state | cmp - before
    [ "$(grep -cv -e asr_resolve calls)" -eq 0 ]
}

@test "stage 3 reads the trials of a spk1 recipe, again when they change, or says what is missing" {
    "${call[@]}" --stop_stage 1
    rm data/test/trials
    run "${call[@]}" --stage 3 --stop_stage 3
    [ "$status" -eq 1 ]
    [[ "${lines[-1]}" == *"data/test/trials is missing or empty: lines of 'enroll_utt"*"spk1 recipe" ]]
    for name in trial.scp trial2.scp trial_label; do
        echo "a*b 1" > "data/test/${name}"
    done
    for _ in 1 2; do # the second call has nothing to do
        "${call[@]}" --stage 3 --stop_stage 3
        [ "$(grep -c '^sv_check_data data/test .*--trials data/test/trials' calls)" -eq 1 ]
    done
    echo "a*b 0" > data/test/trial_label
    "${call[@]}" --stage 3 --stop_stage 3
    [ "$(grep -c '^sv_format_wav --data_dir data/test ' calls)" -eq 2 ]
}

@test "every job's words arrive, through Kaldi's job programs, too" {
    echo "name noise.wav" > 'conf/no<i>se|$x`y`.scp'
    local command=("${call[@]}" --noise_scp 'conf/no<i>se|$x`y`.scp' --format_jobs 2 --inference_nj 2
        --sv_args '--x {"a":["$b",`c`]} --y a|b>c;d&e #f ~/g \h'\''i'
        --inference_args '--dtype <x>|$y' --calibrate_args '--a (b)' --lmft_config
        conf/train_sv_transfer.yaml --lmft_args '--lr $x' --score_norm_args "--q 'r'"
        --format_args '--f "g"' --asr_sets asr_train)
    command[2]='local/asr model.sh'
    printf '#!/bin/sh\nscripts/pretrain_asr.sh --asr_args "--z <q>|\\$p" "$1"\n' > "${command[2]}"
    chmod +x "${command[2]}"
    echo "{}" > conf/decode_asr.yaml
    cp conf/train_sv_transfer.yaml conf/train_sv_adaptor.yaml
    for task in transfer adaptor; do
        "${command[@]}" --sv_task "${task}"
    done
    sort calls > expected
    rm -rf data dump exp calls
    ln -s "${BATS_TEST_DIRNAME}/fake/kaldi_run.sh" "${BATS_TEST_TMPDIR}/fake/run.pl"
    for task in transfer adaptor; do
        "${command[@]}" --sv_task "${task}"
    done
    sort calls | diff - expected
    for word in '<blank>:0' '{"a":["$b",`c`]}' 'a|b>c;d&e' "\\h'i" '<q>|$p' '<x>|$y' '(b)' \
        "'r'" '"g"' 'conf/no<i>se|$x`y`.scp'; do
        grep -qF -e "$(printf ' %q' "${word}")" calls
    done
    for name in tokenize_text asr_train pack sv_check_data sv_format_wav sv_transfer_train \
        sv_adaptor_train sv_embed sv_joint asr_inference sv_score sv_score_norm sv_calibrate \
        sv_metrics sv_describe sv_pack; do
        grep -q "^${name} " calls
    done
}

@test "options by their names in spk.sh are those of sv.sh, also with Kaldi's parse_options.sh" {
    echo "dtype: float16" > conf/embed.yaml
    echo weights > old.pth
    echo "{}" > conf/train_sv_other.yaml
    local same=(--train_set train --valid_set valid --test_sets test --ngpu 0 --nj 1
        --local_asr_script scripts/pretrain_asr.sh)
    ./sv.sh "${same[@]}" --sv_config conf/train_sv_other.yaml \
        --sv_args "--max_epoch 3 --init_param old.pth:head:head" --sv_tag t --calibrate true \
        --inference_args "--config conf/embed.yaml"
    sort calls > expected
    for parser in ours kaldi; do
        rm -rf data dump exp calls
        [ "${parser}" = ours ] || {
            rm utils
            mkdir utils
            cp ../../TEMPLATE/sv1/utils/run.pl utils/
            cp "${BATS_TEST_DIRNAME}/fake/kaldi_parse_options.sh" utils/parse_options.sh
        }
        ./sv.sh "${same[@]}" --feats_type raw --spk-config conf/train_sv_other.yaml \
            --spk_args "--max_epoch 3" --spk_tag t --qmf_func true --fold_length 120000 \
            --pretrained_model old.pth:head:head --inference_config conf/embed.yaml
        sort calls | diff - expected
        grep -q "^sv_embed .* --config conf/embed.yaml" calls
    done
    rm calls # what the files hold counts
    echo "dtype: bfloat16" > conf/embed.yaml
    ./sv.sh "${same[@]}" --spk_config conf/train_sv_other.yaml --spk_exp exp/sv_t \
        --spk_args "--max_epoch 3" --pretrained_model old.pth:head:head \
        --inference_config conf/embed.yaml
    grep -q "^sv_embed " calls
    run grep -q "^sv_transfer_train " calls
    [ "$status" -eq 1 ]
    echo other > old.pth
    run ./sv.sh "${same[@]}" --spk_config conf/train_sv_other.yaml --spk_tag t \
        --spk_args "--max_epoch 3" --pretrained_model old.pth:head:head
    [ "$status" -eq 1 ] && [[ "$output" == *"was started with other settings or data"* ]]
}

@test "the page of results in ESPnet's form is made again when a model is uploaded" {
    "${call[@]}"
    grep "^sv_results .* --espnet_output exp/RESULTS_espnet.md --exp sv_transfer=${exp} " calls
    rm calls
    run "${call[@]}" --stage 10 --skip_upload_hf false --hf_repo no/rights
    [ "$status" -eq 1 ] && [ ! -e "${exp}/hub.json" ]
    "${call[@]}" --stage 10 --skip_upload_hf false --hf_repo org/name
    [ "$(cat "${exp}/hub.json")" = '{"repo": "org/name"}' ]
    [ "$(grep -c "^sv_results " calls)" -eq 1 ]
    cksum "${exp}/sv_transfer.zip" > before
    "${call[@]}" # nothing else has to be made again
    cksum "${exp}/sv_transfer.zip" | diff before -
    [ "$(grep -c -e "^sv_results " -e "^sv_pack " calls)" -eq 1 ]
    "${call[@]}" --sv_tag transfer --sv_args "--max_epoch 30" # other weights are not there
    [ ! -e "${exp}/hub.json" ]
}

@test "options of spk.sh that sv.sh does not have, and two names with two values, are one line" {
    local need=(--train_set a --valid_set b --test_sets c)
    while IFS='|' read -r option value message; do
        run ./sv.sh "${need[@]}" "${option}" "${value}"
        echo "$output"
        [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 2 ] # what was called, and what is wrong
        [[ "${lines[1]}" == "sv.sh: error: "*"${message}"* ]]
    done <<'OPTIONS'
--speed_perturb_factors|0.9 1.0 1.1|--speed_perturb_factors '0.9 1.0 1.1' of spk.sh: set speed_perturb_factors
--feats_type|fbank_pitch|--feats_type 'fbank_pitch' of spk.sh: leave it out
--min-wav-duration|2|let local/data.sh do that
--max_wav_duration|20|let local/data.sh do that
--multi_columns_input_wav_scp|true|--format_args '--channel 1' chooses one
--multi_columns_output_wav_scp|true|--format_args '--channel 1' chooses one
--fold_length|80000|set target_duration
--ignore_init_mismatch|true|--pretrained_model 'FILE:head:head'
--enroll_mode|emb-avg|data/SET/enroll_spk2utt
--eval_valid_set|true|name the validation set in --test_sets
--lang|en|give --pack_args '--language en'
OPTIONS
    for parser in ours kaldi; do
        [ "${parser}" = ours ] || {
            rm utils
            mkdir utils
            cp "${BATS_TEST_DIRNAME}/fake/kaldi_parse_options.sh" utils/parse_options.sh
        }
        while read -r words; do
            eval "words=(${words})"
            run ./sv.sh "${need[@]}" "${words[@]}"
            echo "$output"
            [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 2 ]
            [[ "${lines[1]}" == "sv.sh: error: --"*"one option: give one of them"* ]]
        done <<'PAIRS'
--sv_config a.yaml --spk_config b.yaml
--sv_args "--a 1" --spk_args "--a 2"
--sv-tag a --spk-tag b
--sv_exp exp/a --spk_exp exp/b
--calibrate false --qmf_func true
--calibrate true --qmf_func false
--pretrained_model a.pth --spk_args "--init_param b.pth"
PAIRS
        run ./sv.sh "${need[@]}" --qmf_func perhaps
        [ "$status" -eq 1 ] && [[ "${lines[1]}" == *"qmf_func"*"true"*"false"* ]]
        run ./sv.sh "${need[@]}" --spk_nonsense 1
        [ "$status" -eq 1 ] && [[ "$output" == *"spk_nonsense"* ]]
    done
}

@test "names that a job program cannot pass on are refused before anything is done" {
    for option in dumpdir expdir sv_exp train_set valid_set calib_set cohort_set test_sets; do
        for value in 'a$b' 'a|b' "a'b" 'a b' 'a*' '<a' 'x;y'; do
            [ "${option} ${value}" != "test_sets a b" ] || continue
            run "${call[@]}" "--${option}" "${value}"
            [ "$status" -eq 1 ]
            [[ "${lines[-1]}" == "sv.sh: error: --${option} "*"characters that a shell interprets" ]]
        done
    done
    [ ! -e exp ] && [ ! -e data ]
}

@test "the interpreter may be several words" {
    printf '#!/bin/sh\necho "$*" >> covered\n[ "$1 $2" = "run --append" ] && shift 2 && %s\n' \
        'exec python3 "$@"' > "${BATS_TEST_TMPDIR}/fake/coverage"
    chmod +x "${BATS_TEST_TMPDIR}/fake/coverage"
    echo "{}" | tee conf/decode_asr.yaml > conf/train_sv_adaptor.yaml
    local task command=("${call[@]}" --format_jobs 2 --asr_sets asr_train --sv_task)
    for task in transfer adaptor; do
        "${command[@]}" "${task}"
    done
    grep -v ^launch calls | sort > expected
    rm -rf data dump exp calls
    for task in transfer adaptor; do
        "${command[@]}" "${task}" --python "coverage run --append"
    done
    grep -v ^launch calls | sort | diff - expected
    [ "$(grep -c ' -m ' covered)" -eq "$(wc -l < calls)" ] # none without it
}

@test "a downloaded model is evaluated without training" {
    for name in ours stock_espnet an_adaptor; do
        echo "${name}" > "${name}.zip"
    done
    echo "{}" > conf/decode_asr.yaml
    evaluate=(./sv.sh --ngpu 0 --nj 1 --test_sets test --asr_sets asr_train)
    run "${evaluate[@]}" --download_model ours.zip
    [ "$status" -eq 0 ]
    [[ "$output" == *"nothing to add to ours.zip"* ]]
    [ -e exp/sv_ours/inference/test/cosine/metrics.json ] && [ ! -e exp/sv_ours/sv_ours.zip ]
    [ ! -e dump/raw/train ] && [ ! -e dump/raw/valid ] && [ ! -e exp/sv_ours/threshold.json ]
    all=("${evaluate[@]}" --calibrate true --calib_set valid --score_norm true --cohort_set train)
    "${all[@]}" --download_model ours.zip
    [ -e exp/sv_ours/sv_ours.zip ] && [ -e exp/sv_ours/calibration.json ]
    grep -q "sv_ours/test/asnorm_calibrated=" calls
    run "${all[@]}" --download_model ./stock_espnet.zip
    [ "$status" -eq 0 ]
    [[ "$output" == *"Packing: skipped: ./stock_espnet.zip is a model of ESPnet's own"* ]]
    [ ! -e exp/sv_stock_espnet/sv_stock_espnet.zip ]
    "${all[@]}" --download_model an_adaptor.zip --sv_tag mine
    grep -q "^asr_inference .*--asr_model_file exp/sv_mine/asr/model.pth" calls
    grep -q "^sv_joint .*--model exp/sv_mine " calls
    [ "$(grep -cE "^([a-z_]*train|asr_resolve|launch) " calls)" -eq 0 ]
    [ -z "$(leftovers)" ]
    state > before
    rm calls
    for name in ours stock_espnet; do
        "${all[@]}" --download_model "${name}.zip"
    done
    state | cmp - before
    [ "$(grep -cv sv_resolve calls)" -eq 0 ]
    echo other >> ours.zip
    "${all[@]}" --download_model ours.zip
    grep -q ^sv_embed calls && grep -q ^sv_pack calls
}

@test "a downloaded model needs only the sets that are used" {
    echo model > ours.zip
    evaluate=(./sv.sh --ngpu 0 --nj 1 --download_model ours.zip)
    for words in "|--test_sets" "--test_sets test --calibrate true|--valid_set" \
        "--test_sets test --score_norm true|--train_set" \
        "--test_sets test --inference_model x.pth|--inference_model"; do
        read -r -a options <<< "${words%|*}"
        run "${evaluate[@]}" ${options[@]+"${options[@]}"}
        [ "$status" -eq 1 ]
        [[ "${lines[-1]}" == "sv.sh: error: ${words#*|}"* ]]
    done
    [ ! -e exp ]
}

@test "a trained model is fine-tuned by its own task, and not again" {
    for name in some_transfer an_adaptor stock_espnet; do
        echo "${name}" > "${name}.zip"
    done
    tune=(./sv.sh --ngpu 0 --nj 1 --train_set train --valid_set valid --test_sets test)
    "${tune[@]}" --init_sv some_transfer.zip
    [ -e exp/sv_finetune_some_transfer/sv_finetune_some_transfer.zip ]
    grep -q "^sv_resolve --model some_transfer.zip --output_dir exp/init_some_transfer_" calls
    grep -q "^sv_transfer_train --config conf/train_sv_finetune.yaml .* --init_sv exp/init_some_" calls
    run grep -q -e "^asr_resolve " -e "^sv_transfer_train .*--asr " calls
    [ "$status" -eq 1 ]
    # the sets are formatted once, whatever the model
    "${tune[@]}" --sv_task scratch --init_sv an_adaptor.zip --lmft_config conf/train_sv_lmft.yaml
    grep -q "^sv_adaptor_train .*--init_sv exp/init_an_adaptor_[0-9]* --asr exp/init_an_.*/asr" calls
    grep -q "^sv_adaptor_train .*--init_sv exp/sv_finetune_an_adaptor --asr exp/init_an_.*/asr" calls
    [ "$(grep -c ^sv_format_wav calls)" -eq 3 ]
    state > before
    rm calls
    "${tune[@]}" --init_sv some_transfer.zip
    state | cmp - before
    [ "$(grep -cv ^sv_resolve calls)" -eq 0 ]
    run "${tune[@]}" --init_sv stock_espnet.zip
    [ "$status" -eq 1 ]
    [[ "${lines[-1]}" == *"stock_espnet.zip: is a model of ESPnet's own"* ]]
    run "${tune[@]}" --init_sv none.zip --stage 4
    [ "$status" -eq 1 ]
    [[ "${lines[-1]}" == *"run stage 2 first (--init_sv)"* ]]
    run "${tune[@]}" --init_sv some_transfer.zip --download_model an_adaptor.zip
    [ "$status" -eq 1 ]
    [[ "${lines[-1]}" == *"--init_sv trains a model"* ]]
    echo other > some_transfer.zip # the model counts by its content
    run "${tune[@]}" --init_sv some_transfer.zip
    [ "$status" -eq 1 ]
    [[ "${lines[-1]}" == *"was started with other settings or data"* ]]
}

@test "a rate that the model does not take is one line in stage 2" {
    echo model | tee some.zip > asr.zip
    for words in "--asr_model asr.zip" "--init_sv some.zip" "--sv_task adaptor --asr_model asr.zip" \
        "--download_model some.zip --stage 4"; do
        # shellcheck disable=SC2086
        run ./sv.sh --ngpu 0 --nj 1 --train_set train --valid_set valid --test_sets test --fs 8k \
            ${words}
        [ "$status" -eq 1 ]
        [[ "${lines[-1]}" =~ ^"sv.sh: error: --fs 8k: "[a-z]+".zip takes audio at 16000 Hz; give" ]]
    done
    [ ! -e dump/raw ]
}

@test "what a later stage lacks is told before the first" {
    need=(./sv.sh --train_set train --valid_set valid --test_sets test)
    for words in "--ngpu 0|--asr_model is required for --sv_task transfer" \
        "--sv_task scratch|--ngpu 1: this machine has no usable GPU; give --ngpu 0" \
        "--sv_task scratch --ngpu 0 --sv_config no.yaml|no.yaml is missing" \
        "--sv_task scratch --stage 6 --gpu_inference true|--ngpu 1: this machine has no"; do
        # shellcheck disable=SC2086
        CUDA_VISIBLE_DEVICES='' run "${need[@]}" ${words%%|*}
        [ "$status" -eq 1 ]
        [ "${#lines[@]}" -eq 2 ]
        [[ "${lines[1]}" == "sv.sh: error: ${words#*|}"* ]]
    done
    [ ! -e data ]
    [ ! -e exp ]
    # no GPU is needed here for what does not train, or trains elsewhere
    CUDA_VISIBLE_DEVICES='' "${need[@]}" --sv_task scratch --stop_stage 3
    ln -s run.pl utils/slurm.pl
    CUDA_VISIBLE_DEVICES='' cmd_backend=slurm "${need[@]}" --sv_task scratch
    grep -q "^sv_train " calls
}

@test "the generated run.sh runs all tasks, and warns where noises are not listed" {
    mkdir data
    for name in train valid test; do
        mkdir "data/${name}"
        for file in wav.scp utt2spk spk2utt trials; do
            echo "${name} line" > "data/${name}/${file}"
        done
    done
    run ./run.sh --sv_task scratch --ngpu 0 --nj 1 --stage 2
    [ "$status" -eq 0 ]
    [ -e exp/sv_scratch/sv_scratch.zip ]
    [ "$(grep -c "Warning: without --noise_scp, babble .*sv_prep_noises" <<< "$output")" -eq 1 ]
    echo "name a.wav" > data/noise.scp
    run ./run.sh --sv_task scratch --sv_tag noisy --ngpu 0 --nj 1 --stage 2 --noise_scp data/noise.scp
    [ "$status" -eq 0 ]
    [[ "$output" != *babble* ]]
    echo asr > asr.zip
    ./run.sh --asr_model asr.zip --ngpu 0 --nj 1 --stage 2 --stop_stage 4
    grep -q "^sv_transfer_train .*--config conf/train_sv_transfer.yaml" calls
}

@test "a name that is made of long arguments is shortened, always to the same" {
    local train=("${call[@]}" --stage 2 --stop_stage 4 --sv_args)
    "${train[@]}" "--max_epoch 2 --seed 1" --stage 1
    [ -d exp/sv_transfer_max_epoch2_seed1 ]
    long="--optim_conf lr=0.$(printf '1%.0s' {1..300})"
    for seed in 1 2 1; do
        "${train[@]}" "--seed ${seed} ${long}" --lmft_config conf/train_sv_transfer.yaml
    done
    mapfile -t names < <(ls -d exp/sv_transfer_seed*)
    [ "${#names[@]}" -eq 2 ]
    for name in "${names[@]}"; do
        [[ "${name}" =~ ^exp/sv_transfer_seed[12]_optim_conflr=?0\.1+_[0-9]+$ ]]
        [ "${#name}" -le 127 ]
        [ -e "${name}/latest.pth" ]
    done
    [ "$(grep -c "^sv_transfer_train " calls)" -eq 3 ]
}

@test "a mistake in an option keeps all results" {
    "${call[@]}"
    state > before
    for mistake in "--stage 6 --inference_args --dtype?x" "--stage 6 --inference_model no.pth" \
        "--asr_model missing.zip --stage 4" "--stage six" "--nj 0" "--calibrate no" \
        "--stage 9 --stop_stage 3" "--skip_stages a" "--fs 0" "--stage 11"; do
        read -r -a words <<< "${mistake}"
        run "${call[@]}" "${words[@]//\?/ }"
        [ "$status" -eq 1 ]
        state | grep -v "\.inference" | cmp - before
    done
    run scripts/pretrain_asr.sh --asr_args "--max_epoch x" exp/asr_local/asr.zip
    [ "$status" -eq 1 ]
    [[ "${lines[-1]}" == "error: --max_epoch x" ]]
    state | grep -v -e "\.inference" -e "\.part" -e "\.done" > after
    grep -v "\.done" before | cmp - after
    "${call[@]}"
    state | cmp - before
    [ -z "$(leftovers)" ]
}

@test "results of another model go when the new embeddings are complete, whenever it is killed" {
    "${call[@]}"
    cp "${exp}/inference/trials/xvector.ark" first
    for dtype in float16 bfloat16; do
        for _ in {1..4}; do
            in_group "${call[@]}" --stage 6 --inference_args "--dtype ${dtype}"
            until [ -e "${exp}/.inference.part" ] || ! kill -0 "${group}"; do sleep 0.02; done
            sleep "$((RANDOM % 2)).$((RANDOM % 10))"
            kill -KILL -- "-${group}" 2> /dev/null || true
            wait "${group}" || true
            dir=${exp}/inference
            [ -e "${dir}" ] || dir=${exp}/.inference.old # renaming was interrupted
            grep -q "^test1 ${exp}/inference/trials/xvector.ark:" "${dir}/trials/xvector.scp"
            if cmp first "${dir}/trials/xvector.ark"; then
                [ -e "${dir}/test/asnorm_calibrated/metrics.json" ]
            fi
        done
        "${call[@]}" --stage 6 --inference_args "--dtype ${dtype}"
        [ -z "$(leftovers)" ]
        grep -q "${dtype}" "${exp}/inference/trials/xvector.ark"
        cp "${exp}/inference/trials/xvector.ark" first
    done
}

@test "the embeddings of an added cohort do not replace those that are there" {
    "${call[@]}" --score_norm false
    run "${call[@]}"
    [ "$status" -eq 0 ]
    [ -e "${exp}/inference/cohort/xvector.scp" ] && [ -z "$(leftovers)" ]
}

@test "a trained ASR model stays until its successor is complete" {
    "${call[@]}" --stop_stage 2
    cksum exp/asr_local/{asr.zip,train/config.yaml} > before
    in_group scripts/pretrain_asr.sh --asr_args "--max_epoch 7" exp/asr_local/asr.zip
    until [ -e exp/asr_local/.train.part/checkpoint.pth ]; do sleep 0.01; done
    kill -KILL -- "-${group}"
    wait "${group}" || true
    cksum exp/asr_local/{asr.zip,train/config.yaml} | cmp - before
    head -c 100 "${BATS_TEST_TMPDIR}/some.zip" > exp/asr_local/.train.part/checkpoint.pth
    run scripts/pretrain_asr.sh --asr_args "--max_epoch 7" exp/asr_local/asr.zip
    [ "$status" -eq 0 ]
    [[ "$output" == *"exp/asr_local/.train.part/checkpoint.pth is incomplete"* ]]
    grep -q 7 exp/asr_local/train/config.yaml
    [ -z "$(leftovers)" ]
}

@test "Ctrl-C at any moment is one line, status 130, and the same command resumes" {
    "${call[@]}"
    state > before
    rm -r data dump exp
    stopped=0
    for _ in {1..8}; do
        in_group "${call[@]}"
        sleep "$((RANDOM % 3)).$((RANDOM % 10))$((RANDOM % 10))"
        kill -INT -- "-${group}" 2> /dev/null || true
        status=0
        wait "${group}" || status=$?
        [ "${status}" -ne 0 ] || continue
        stopped=$((stopped + 1))
        cat output
        [ "${status}" -eq 130 ]
        # at most one line per script, after those of the stages and the table of results
        run grep -v -e '^20..-..-..T' -e ' table$' output
        [ "${#lines[@]}" -le 3 ]
        [ "$(sort output | uniq -d | grep -c interrupted)" -eq 0 ]
        for line in ${lines[@]+"${lines[@]}"}; do
            [[ "${line}" =~ ^(sv|data|pretrain_asr)\.sh:\ interrupted ]]
        done
        pgrep -a -g "${group}" || true
        while pgrep -g "${group}" > /dev/null; do sleep 0.1; done
    done
    [ "${stopped}" -gt 0 ]
    "${call[@]}" > /dev/null
    state | cmp - before
    [ -z "$(leftovers)" ]
}

@test "two runs at once leave one result, each complete" {
    "${call[@]}"
    state > before
    rm -r data dump exp
    "${call[@]}" > first.log 2>&1 3>&- &
    first=$!
    "${call[@]}" > second.log 2>&1 3>&- &
    second=$!
    wait "${first}"
    wait "${second}"
    state | cmp - before
    [ -z "$(leftovers)" ]
    [ -z "$(find . -name '*.lock')" ]
}

@test "a full disk in any stage is an error and loses nothing" {
    "${call[@]}"
    state > before
    for limit in 0 1; do # KiB that a file may have
        for changed in "--stage 6 --inference_args --dtype?float16" "--stage 3 --fs 8k" \
            "--stage 4 --sv_tag other" "--stage 7 --top_n 7"; do
            read -r -a words <<< "${changed}"
            run bash -c 'trap "" XFSZ; ulimit -f "$1"; "${@:2}"' - "${limit}" "${call[@]}" \
                "${words[@]//\?/ }"
            echo "$output"
            [ "${limit}" -eq 1 ] || [ "$status" -ne 0 ]
            [[ "$output" != *Traceback* ]]
        done
    done
    "${call[@]}"
    state | grep -v sv_other > after
    grep -v "RESULTS" before > expected
    grep -v "RESULTS" after | cmp - expected
}
