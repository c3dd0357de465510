#!/usr/bin/env bats
# egs2/voxceleb/sv1/run.sh: which sets a call trains and tests on

setup() {
    recipe="${BATS_TEST_DIRNAME}/../../egs2/voxceleb/sv1"
    cd "${BATS_TEST_TMPDIR}" || return 1
    cp "${recipe}/run.sh" .
    cp -r "${recipe}/../../TEMPLATE/sv1/scripts" .
    printf '#!/usr/bin/env bash\nprintf "<%%s>" "$@"\n' > sv.sh # prints its arguments
    chmod +x sv.sh
}

@test "training is on VoxCeleb2 and the tests are O, E and H" {
    run ./run.sh --sv_task adaptor
    [ "$status" -eq 0 ]
    [[ "$output" == *"<--train_set><voxceleb2_train>"* ]]
    [[ "$output" == *"<--test_sets><voxceleb1_o voxceleb1_e voxceleb1_h>"* ]]
    [[ "$output" == *"<--results_layout><conf/results.yaml><--sv_task><adaptor>" ]]
}

@test "training on VoxCeleb1 and 2 leaves out E and H, and says why" {
    run ./run.sh --train_set voxceleb12_devs --local_data_opts "--nj 2 --seed 1" --stage 1
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == *"Testing on voxceleb1_o only: "*"has the speakers of voxceleb1_e"* ]]
    [[ "${lines[1]}" == *"<--test_sets><voxceleb1_o>"*"<--expdir><exp/voxceleb12>"* ]]
    [[ "${lines[1]}" == *"<--local_data_opts><--voxceleb12_devs true --nj 2 --seed 1>" ]]
}

@test "training on VoxCeleb1 and 2 refuses E and H that were asked for" {
    for sets in "voxceleb1_o voxceleb1_h" voxceleb1_e; do
        run ./run.sh --train-set voxceleb12_devs --test_sets "${sets}"
        [ "$status" -eq 1 ]
        [[ "$output" == "run.sh: error: voxceleb12_devs has the speakers of"*"use --test_sets voxceleb1_o" ]]
    done
    run ./run.sh --train_set voxceleb12_devs --test_sets "voxceleb1_o my_set"
    [ "$status" -eq 0 ]
    [[ "$output" == *"<--test_sets><voxceleb1_o my_set>"* ]]
}
