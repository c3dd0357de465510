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

@test "work is split over jobs, each with its share" {
    run bash call.sh in_shares check echo looks
    [ "$status" -eq 0 ]
    [ "$(cat dump/logs/check.*.log | grep -c '^looks --shard ./3$')" -eq 3 ]
}

@test "what a job finds wrong is shown, and stops" {
    cat > look.sh <<'LOOK'
[ "$2" != 2/3 ] || { echo "wav.scp: utterance b: is empty"; echo "error: 1 problem(s)"; exit 1; }
LOOK
    run bash call.sh in_shares check bash look.sh
    [ "$status" -eq 1 ]
    [[ "$output" == *"wav.scp: utterance b: is empty"* ]]
    [[ "$output" == *"error: 1 problem(s)"* ]]
}

@test "the lists of a training configuration's augmentation are found" {
    cat > train.yaml <<'YAML'
# scp: comment.scp
augment_conf:
    noise:
    -   {scp: data/noise.scp, snr: [0, 15]} # scp: other.scp
    -   snr: [5, 15]
        scp: data/music.scp
    rir: {weight: 1.0, scp: data/rirs.scp}
YAML
    run bash call.sh augmentation_lists train.yaml
    [ "$output" = "$(printf 'data/%s.scp\n' noise music rirs)" ]
}

@test "a training that was killed in an epoch is not mixed with other settings" {
    mkdir exp
    echo "lr: 1" > conf.yaml
    bash call.sh begin_training exp conf.yaml
    echo weights > exp/checkpoint.safe.pth # of the first epoch; the second was under way
    echo "lr: 2" > conf.yaml
    run bash call.sh begin_training exp conf.yaml
    [ "$status" -eq 1 ]
    [[ "$output" == *"exp was begun with other settings"* ]]
}

@test "a training that was killed in its first epoch can be begun with other settings" {
    mkdir exp
    echo "lr: 1" > conf.yaml
    bash call.sh begin_training exp conf.yaml
    : > exp/checkpoint.first_epoch
    echo half > exp/checkpoint.pth
    echo "lr: 2" > conf.yaml
    bash call.sh begin_training exp conf.yaml
    [[ "$(cat exp/.settings)" == *"lr: 2"* ]]
}
