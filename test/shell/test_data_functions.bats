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
