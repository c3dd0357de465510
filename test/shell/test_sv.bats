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
echo "${SLURM_KILL_BAD_EXIT}" > kill_bad_exit
echo $$ > pid
until [ -e go ]; do sleep 0.05; done
echo "$*" >> trained
mkdir -p exp/sv_scratch
touch exp/sv_scratch/{latest,checkpoint}.pth
PYTHON
    chmod +x python
    call=(./sv.sh --sv_task scratch --stage 4 --stop_stage 4 --ngpu 0 --python ./python
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
    [ "$(cat kill_bad_exit)" -eq 1 ] # of srun, if there are several nodes
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

# training_that_shows LINE...: puts a training in place that shows the lines one after
# another, as espnet2_sv/train/progress.py writes them, each when there is a file N; it
# then waits for a file go
training_that_shows() {
    printf '%s\n' "$@" > to_show
    cat > python <<'PYTHON'
#!/usr/bin/env bash
[[ $* == *espnet2.bin.launch* ]] || exec python3 "$@"
echo "${SLURM_KILL_BAD_EXIT}" > kill_bad_exit
echo $$ > pid
mkdir -p exp/sv_scratch
mapfile -t lines < to_show
for number in "${!lines[@]}"; do
    until [ -e "${number}" ]; do sleep 0.02; done
    {
        printf '%s\n' "${lines[@]:0:number}" | grep -v ', batch'
        printf %s "${lines[number]}" # without an end: it is still under way
    } > exp/sv_scratch/part
    mv exp/sv_scratch/part exp/sv_scratch/progress.txt
done
until [ -e go ]; do sleep 0.02; done
echo >> exp/sv_scratch/progress.txt
[ ! -e fail ] || exit 1
touch exp/sv_scratch/{latest,checkpoint}.pth
PYTHON
}

@test "training shows a line per epoch when the epoch has ended, and the best one" {
    lines=("epoch 1/2, batch 3/9: 5 s left" "epoch 1/2: EER 9.00 %" "epoch 2/2, batch 1/9"
        "epoch 2/2: EER 8.00 %" "best epoch: 2")
    training_that_shows "${lines[@]}"
    mkdir -p exp/sv_scratch
    printf 'epoch 9/9: of an earlier run\nbest' > exp/sv_scratch/progress.txt
    touch 0 1 2
    "${call[@]}" > output 2>&1 3>&- &
    until grep -q '^epoch 1/2: EER 9.00 %$' output; do sleep 0.05; done
    [ "$(grep -c -e EER -e best output)" -eq 1 ]
    touch 3 4 go
    wait $!
    grep -e '^epoch' -e '^best' output > shown
    printf '%s\n' "${lines[@]}" | grep -v batch | diff - shown
}

@test "on a terminal, training shows one line that renews itself" {
    training_that_shows "resumed after epoch 1/2" "epoch 2/2, batch 1/9" "epoch 2/2, batch 7/9" \
        "epoch 2/2: EER 8.00 %" "best epoch: 2"
    touch 0 1
    TERM=xterm script --quiet --return --flush --command "${call[*]}" terminal \
        < /dev/null > /dev/null 2>&1 3>&- &
    until grep -q 'batch 1/9' terminal; do sleep 0.05; done
    touch 2
    until grep -q 'batch 7/9' terminal; do sleep 0.05; done
    touch 3 4 go
    wait $!
    erase=$'\r\e[K'
    grep -qF "${erase}"$'\e[?7lepoch 2/2, batch 1/9\e[?7h'"${erase}" terminal
    # what remains of the line of each, once the terminal has acted on it
    sed -e 's/\r$//' -e 's/.*\r\x1b\[K//' -e 's/\x1b\[?7[lh]//g' terminal > remains
    [ "$(grep -c '^resumed after epoch 1/2$' remains)" -eq 1 ]
    [ "$(grep -c '^best epoch: 2$' remains)" -eq 1 ]
    [ "$(grep -c batch remains)" -eq 0 ]
}

# displays: prints the processes of the group whose input is a pipe
displays() {
    local process
    for process in $(pgrep -g "${group}"); do
        [[ $(readlink "/proc/${process}/fd/0") != pipe:* ]] || echo "${process}"
    done
}

# wait_for_none COMMAND...: until it prints nothing; BATS_TEST_TIMEOUT ends the waiting
wait_for_none() {
    while [ -n "$("$@")" ]; do sleep 0.1; done
}

@test "the display ends with a training that fails, and with a recipe that is killed" {
    training_that_shows "epoch 1/2, batch 3/9"
    touch 0 go fail
    run "${call[@]}"
    [ "$status" -eq 1 ]
    [[ "$output" == *"error: training failed; logs: "* ]]
    rm go
    for signal in TERM KILL; do
        rm -f exp/sv_scratch/progress.txt
        setsid "${call[@]}" < /dev/null > output 2>&1 3>&- &
        group=$!
        until [ -e exp/sv_scratch/progress.txt ] && [ -n "$(displays)" ]; do sleep 0.05; done
        kill "-${signal}" "${group}"
        wait_for_none displays
        kill -0 "$(cat pid)" # the training goes on
        touch go
        wait_for_none pgrep -g "${group}"
        rm go
    done
}

@test "Ctrl-C during training leaves no process behind" {
    training_that_shows "epoch 1/2, batch 3/9"
    touch 0
    perl -e '$SIG{INT} = "DEFAULT"; setpgrp(0, 0); exec @ARGV' "${call[@]}" > output 2>&1 3>&- &
    group=$!
    until [ -e exp/sv_scratch/progress.txt ]; do sleep 0.05; done
    kill -INT -- "-${group}"
    status=0
    wait "${group}" || status=$?
    [ "${status}" -eq 130 ]
    [ "$(tail -n 1 output)" = "sv.sh: interrupted; call it again to resume" ]
    wait_for_none pgrep -g "${group}"
}
