#!/usr/bin/env bats
# egs2/TEMPLATE/sv1/sv.sh, with a fake Python in place of training

setup() {
    root=$(cd "${BATS_TEST_DIRNAME}/../.." && pwd -P)
    mkdir -p "${BATS_TEST_TMPDIR}/project/egs2"
    cd "${BATS_TEST_TMPDIR}/project" || return 1
    cp -r "${root}/egs2/TEMPLATE" egs2/
    mkdir tools
    cp "${root}"/tools/*.* tools/
    cp -r "${root}/espnet2_sv" .
    egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1
    cd egs2/corpus/sv1 || return 1
    mkdir -p dump/raw/{train,valid}
    for file in {train,valid}/wav.scp train/spk2utt valid/trials; do
        echo line > "dump/raw/${file}"
    done
    cat > python <<'PYTHON'
#!/usr/bin/env bash
# training writes its process id, then waits until there is a file go
[[ $* == *espnet2.bin.launch* ]] || exec python3 "$@"
echo $$ > pid
until [ -e go ]; do sleep 0.05; done
echo "$*" >> trained
mkdir -p exp/sv_scratch
touch exp/sv_scratch/{latest,checkpoint}.pth
PYTHON
    chmod +x python
    call=(./sv.sh --sv_task scratch --stage 4 --stop_stage 4 --python ./python
        --train_set train --valid_set valid --test_sets valid)
}

@test "a training that a killed run left behind does not get other settings" {
    "${call[@]}" > first.log 2>&1 3>&- &
    first=$!
    until [ -s pid ]; do sleep 0.05; done
    kill -TERM "${first}"
    wait "${first}" || true
    kill -0 "$(cat pid)" # the training goes on
    "${call[@]}" --sv_tag scratch --sv_args "--seed 7" > second.log 2>&1 3>&- &
    second=$!
    until grep -q "waiting for another run" second.log; do sleep 0.05; done
    run grep "seed 7" exp/sv_scratch/.settings
    [ "$status" -eq 1 ]
    touch go
    status=0
    wait "${second}" || status=$?
    [ "${status}" -eq 1 ]
    grep -q "started with other settings" second.log
    "${call[@]}"
    [ -z "$(find exp -name '*.lock')" ]
}

@test "a trained model is not trained again, and not with other settings" {
    touch go
    "${call[@]}"
    run "${call[@]}"
    [ "$status" -eq 0 ]
    [ "$(wc -l < trained)" -eq 1 ]
    run "${call[@]}" --sv_tag scratch --sv_args "--max_epoch 20"
    [ "$status" -eq 0 ] # trains on
    [ "$(wc -l < trained)" -eq 2 ]
    run "${call[@]}" --sv_tag scratch --sv_args "--seed 7"
    [ "$status" -eq 1 ]
    [[ "$output" == *"started with other settings"* ]]
    [ "$(wc -l < trained)" -eq 2 ]
}
