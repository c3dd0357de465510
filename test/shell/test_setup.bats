#!/usr/bin/env bats
# egs2/TEMPLATE/sv1/setup.sh, path.sh and cmd.sh

setup() {
    root=$(cd "${BATS_TEST_DIRNAME}/../.." && pwd -P)
    mkdir -p "${BATS_TEST_TMPDIR}/project/egs2"
    cd "${BATS_TEST_TMPDIR}/project" || return 1
    cp -r "${root}/egs2/TEMPLATE" egs2/
    mkdir tools
    cp "${root}"/tools/*.* tools/
    cp -r "${root}/espnet2_sv" .
}

@test "a new recipe has all that sv.sh needs" {
    egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1
    cd egs2/corpus/sv1
    run ./sv.sh --help
    [ "$status" -eq 0 ]
    [[ "$output" == *"--some_option VALUE"* ]]
    [[ "$output" == *"lmft_config="* ]]
    [ -x run.sh ] && [ -x local/data.sh ] && [ -f conf/slurm.conf ]
    [ -z "$(find . -xtype l)" ] # no link leads nowhere
}

@test "a recipe's configurations are its own, also where the template is made of links" {
    mkdir elsewhere
    mv egs2/TEMPLATE elsewhere/
    cp -rs "${PWD}/elsewhere/TEMPLATE" egs2/ # as tools/upstream.sh install makes it
    egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1
    cd egs2/corpus/sv1
    [ -z "$(find cmd.sh run.sh local conf/*.conf conf/tuning -type l)" ]
    for config in conf/train_sv_*.yaml; do
        [[ $(readlink "${config}") == tuning/* ]] && [ -f "${config}" ]
    done
    [ "$(readlink conf/train_sv_transfer.yaml)" = tuning/train_sv_transfer_mfa.yaml ]
    echo "# mine" | tee -a cmd.sh run.sh local/data.sh conf/*.conf conf/*.yaml > /dev/null
    run grep -rl "^# mine" "${BATS_TEST_TMPDIR}/project/elsewhere"
    [ "$status" -eq 1 ] # nothing of the template has changed
}

@test "a second call adds what is missing and changes nothing else" {
    egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1
    cd egs2/corpus/sv1
    echo "# mine" >> run.sh
    rm conf/train_sv_lmft.yaml
    rm path.sh
    echo "# mine" > path.sh
    find . -type f -exec cksum {} + -o -type l -printf '%p %l\n' | sort > ../before
    cd ../../..
    run egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1/
    [ "$output" = "setup.sh: egs2/corpus/sv1 is complete; nothing changed" ]
    rm -r egs2/corpus/sv1/local egs2/corpus/sv1/db.sh
    ln -s nowhere egs2/corpus/sv1/db.sh
    mkdir egs2/corpus/sv1/local.part # of a call that was killed
    run egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1
    [ "$output" = "setup.sh: added to egs2/corpus/sv1: db.sh local" ]
    cd egs2/corpus/sv1
    find . -type f -exec cksum {} + -o -type l -printf '%p %l\n' | sort | diff ../before -
}

@test "a folder of something else is left alone" {
    mkdir -p egs2/corpus/sv1
    echo mine > egs2/corpus/sv1/run.sh
    run egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == *"exists and is not a recipe"* ]]
    [ "$(ls -A egs2/corpus/sv1)" = run.sh ] && [ "$(cat egs2/corpus/sv1/run.sh)" = mine ]
}

@test "a folder elsewhere is refused" {
    run egs2/TEMPLATE/sv1/setup.sh somewhere/corpus/sv1
    [ "$status" -eq 1 ]
    [[ "$output" == *"egs2/CORPUS/sv1"* ]]
    [ ! -e somewhere ]
}

@test "sv.sh refuses unknown options, bad values and missing names in one line" {
    egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1
    cd egs2/corpus/sv1
    for arguments in "--trian_set a" "--skip_train perhaps" "--train_set a --valid_set b" \
        "--train_set a --valid_set b --test_sets c --sv_task magic" \
        "--train_set a --valid_set b --test_sets c --fs fast" "extra"; do
        # shellcheck disable=SC2086
        run ./sv.sh ${arguments}
        [ "$status" -eq 1 ]
        [ "${#lines[@]}" -eq 2 ] # what was called, and what is wrong
    done
}

@test "path.sh gives Python, the utils and C order" {
    egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1
    cd egs2/corpus/sv1
    run bash -c 'set -euo pipefail; . ./path.sh; command -v run.pl; echo "${LC_ALL}";
        python3 -c "import espnet2_sv; print(espnet2_sv.__file__)"'
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "${PWD}/utils/run.pl" ]
    [ "${lines[1]}" = C ]
    # the copy beside the recipe, not another one that may be installed
    [ "${lines[2]}" = "${BATS_TEST_TMPDIR}/project/espnet2_sv/__init__.py" ]
}

@test "an ESPnet checkout's own back ends serve where MAIN_ROOT names one" {
    utils=${BATS_TEST_TMPDIR}/espnet/tools/kaldi/egs/wsj/s5/utils
    mkdir -p "${utils}" "${BATS_TEST_TMPDIR}/espnet/espnet2"
    touch "${BATS_TEST_TMPDIR}/espnet/tools/activate_python.sh"
    printf '#!/bin/sh\n' | tee "${utils}/run.pl" > "${utils}/slurm.pl"
    chmod +x "${utils}"/*.pl
    egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1
    cd egs2/corpus/sv1
    export MAIN_ROOT=${BATS_TEST_TMPDIR}/espnet cmd_backend=slurm
    run bash -c 'set -euo pipefail; . ./path.sh; . ./cmd.sh; command -v ${train_cmd}'
    [ "$status" -eq 0 ]
    [ "$output" = "$(cd "${utils}" && pwd -P)/slurm.pl" ]
}

@test "a back end that is not there is one line" {
    egs2/TEMPLATE/sv1/setup.sh egs2/corpus/sv1
    cd egs2/corpus/sv1
    for backend in slurm sge pbs ssh stdout jhu mainframe; do
        run env cmd_backend="${backend}" bash -c 'set -eu; . ./path.sh; . ./cmd.sh; echo never'
        [ "$status" -ne 0 ]
        [[ "$output" == *"${backend}"* ]]
        [ "${#lines[@]}" -eq 1 ]
    done
}
