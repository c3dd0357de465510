#!/usr/bin/env bats
# tools/upstream.sh install and remove, and path.sh in a checkout; the checkout is small
# shellcheck disable=SC2016  # words that must not be expanded

setup() {
    root=$(cd "${BATS_TEST_DIRNAME}/../.." && pwd -P)
    upstream=${root}/tools/upstream.sh
    cd "${BATS_TEST_TMPDIR}" || return 1
    asr1=espnet/egs2/TEMPLATE/asr1
    mkdir -p espnet/{espnet2,espnet,tools,test} espnet/egs2/mini_an4/asr1 \
        "${asr1}"/{conf,steps,pyscripts,utils,scripts/{utils,audio}}
    echo 202611 > espnet/version.txt
    for name in cmd.sh db.sh conf/{slurm,queue,pbs}.conf utils/run.pl utils/parse_options.sh; do
        echo "# ESPnet's ${name}" > "${asr1}/${name}"
    done
    chmod +x "${asr1}/utils/run.pl"
    echo archive > espnet/egs2/mini_an4/asr1/downloads.tar.gz
    export PYTHONPATH=
}

contents() { # of the checkout
    (cd espnet && find . \( -type l -printf '%p -> %l\n' \) -o -printf '%p %y %m\n' | sort)
}

@test "what is installed is removed without a trace; both can be repeated" {
    contents > before
    "${upstream}" remove espnet
    contents | diff before -
    "${upstream}" install espnet
    contents > installed
    "${upstream}" install espnet
    contents | diff installed -
    [ -z "$(find espnet -xtype l)" ] # no link leads nowhere
    # nothing that was there is changed or gone
    [ -z "$(comm -23 <(sort before) <(sort installed))" ]
    touch espnet/egs2/mini_an4/sv1/local/new.pyc
    rm espnet/egs2/mini_an4/sv1/local/new.pyc
    mkdir espnet/egs2/mini_an4/sv1/local/__pycache__
    touch espnet/egs2/mini_an4/sv1/local/__pycache__/prepare_data.pyc
    "${upstream}" remove espnet
    contents | diff before -
    "${upstream}" remove espnet
    contents | diff before -
}

@test "recipes have the checkout's own shared files, and everything of this project" {
    "${upstream}" install espnet
    for recipe in TEMPLATE mini_an4 voxceleb fotaq; do
        for name in cmd.sh db.sh conf/{slurm,queue,pbs}.conf utils/run.pl; do
            [ "espnet/egs2/${recipe}/sv1/${name}" -ef "${asr1}/${name}" ]
        done
        for name in sv.sh path.sh scripts/stage_functions.sh; do
            [ "espnet/egs2/${recipe}/sv1/${name}" -ef "${root}/egs2/TEMPLATE/sv1/${name}" ]
        done
        [ -d "espnet/egs2/${recipe}/sv1/scripts/audio" ]
        [ -d "espnet/egs2/${recipe}/sv1/steps" ] && [ -d "espnet/egs2/${recipe}/sv1/pyscripts" ]
    done
    for file in $(git -C "${root}" ls-files egs2 test 2> /dev/null); do
        [[ ${file} != egs2/TEMPLATE/sv1/utils/* ]] || continue
        [ -e "espnet/${file/#test/test/espnet2_sv}" ]
    done
    [ espnet/espnet2_sv/__init__.py -ef "${root}/espnet2_sv/__init__.py" ]
    [ "$(cat espnet/egs2/mini_an4/sv1/downloads.tar.gz)" = archive ]
}

@test "data and results stay, and are named" {
    "${upstream}" install espnet
    mkdir -p espnet/egs2/mini_an4/sv1/{exp,data}
    echo 0.5 > espnet/egs2/mini_an4/sv1/exp/RESULTS.md
    ln -s "${root}/README.md" espnet/egs2/mini_an4/sv1/data/link
    ln -s ../asr1/dump espnet/egs2/mini_an4/sv1/own_link
    run "${upstream}" remove espnet
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == *"kept data or results in: ${PWD}/espnet/egs2/mini_an4/sv1" ]]
    (cd espnet/egs2/mini_an4/sv1 && find . ! -type d | sort) > left
    printf './%s\n' data/link exp/RESULTS.md own_link | diff - left
    "${upstream}" install espnet
    [ "$(cat espnet/egs2/mini_an4/sv1/exp/RESULTS.md)" = 0.5 ]
}

@test "a checkout that is too old, no checkout, or one with an sv1 of its own is refused" {
    for version in 202511 202301; do
        echo "${version}" > espnet/version.txt
        contents > before
        run "${upstream}" install espnet
        [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ]
        [[ "$output" == *"ESPnet ${version}; 202611 or later is needed"* ]]
        contents | diff before -
    done
    mkdir -p old/{espnet2,espnet,egs2/TEMPLATE/asr1} # where releases of 2025 had it
    echo 202504 > old/espnet/version.txt
    echo 202611 > espnet/version.txt
    for wrong in "install old" "install missing" "install ${BATS_TEST_TMPDIR}" "install ${root}" \
        "remove missing"; do
        # shellcheck disable=SC2086
        run "${upstream}" ${wrong}
        [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ]
    done
    for own in espnet2_sv/x egs2/voxceleb/sv1/run.sh egs2/TEMPLATE/sv1/sv.sh; do
        mkdir -p "espnet/$(dirname "${own}")"
        echo mine > "espnet/${own}"
        contents > before
        run "${upstream}" install espnet
        [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ]
        [[ "$output" == *"move it away" ]]
        contents | diff before -
        rm -r "espnet/$(dirname "${own}")"
    done
}

@test "installing from another place replaces the links" {
    "${upstream}" install espnet
    contents | sed "s,${root}/,${PWD}/moved/," > expected
    mkdir moved
    cp -r "${root}"/{egs2,espnet2_sv,test} moved/ # without git
    mkdir moved/tools
    cp -r "${root}"/tools/upstream* moved/tools/
    rm -rf moved/egs2/*/sv1/{data,dump,exp,downloads} # as in git
    find moved -name __pycache__ -type d -prune -exec rm -r {} +
    moved/tools/upstream.sh install espnet
    contents | diff expected -
    moved/tools/upstream.sh remove espnet
    [ ! -e espnet/espnet2_sv ]
}

@test "path.sh takes the checkout's Python and modules, and says what they lack" {
    "${upstream}" install espnet
    real=$(python3 -c 'import sys; print(sys.prefix)')/bin
    printf 'PATH=%s:${PATH}\nunset_variable=${not_set}\n' "${real}" \
        > espnet/tools/activate_python.sh
    echo "export EXTRA_PATH=sourced" > espnet/tools/extra_path.sh
    cd espnet/egs2/mini_an4/sv1
    run env -u PYTHONPATH PATH=/usr/bin:/bin bash -c 'set -euo pipefail; . ./path.sh
        echo "${EXTRA_PATH} ${PYTHONPATH} $-"; command -v run.pl
        cd / && python3 -c "import espnet2_sv; print(espnet2_sv.__file__)"'
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == "sourced ${BATS_TEST_TMPDIR}/espnet "*e*u* ]]
    [ "${lines[1]}" = "${BATS_TEST_TMPDIR}/espnet/egs2/TEMPLATE/asr1/utils/run.pl" ]
    [ "${lines[2]}" = "${BATS_TEST_TMPDIR}/espnet/espnet2_sv/__init__.py" ]

    mkdir ../fake
    printf '#!/bin/sh\nexec %s/python3 -S "$@"\n' "${real}" > ../fake/python3 # no packages
    chmod +x ../fake/python3
    echo 'PATH=$(cd .. && pwd)/fake:${PATH}' > "${BATS_TEST_TMPDIR}/espnet/tools/activate_python.sh"
    run env -u PYTHONPATH bash -c 'set -eu; . ./path.sh; echo never'
    [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == "path.sh: the Python of this checkout lacks torch"* ]]

    echo 202509 > "${BATS_TEST_TMPDIR}/espnet/version.txt"
    run bash -c 'set -eu; . ./path.sh; echo never'
    [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == *"ESPnet 202509; 202611 or later is needed" ]]
}

@test "every verb has help; an unknown one is refused" {
    for verb in tree install remove check; do
        run "${upstream}" "${verb}" --help
        [ "$status" -eq 0 ]
        [[ "$output" == *"tools/upstream.sh ${verb} "* ]]
        run "${upstream}" "${verb}"
        [ "$status" -eq 1 ]
        [[ "${lines[-1]}" == "upstream.sh: error: "* ]]
    done
    run "${upstream}" --help
    [ "$status" -eq 0 ] && [[ "$output" == *"patch CHECKOUT DIR"* ]]
    run "${upstream}" frobnicate
    [ "$status" -eq 1 ] && [[ "${lines[-1]}" == *"frobnicate: give one of those above" ]]
}

@test "a tree is made from an archive, and not over another folder" {
    version=$(python3 -c 'from importlib.metadata import version; print(version("espnet"))')
    mv espnet "espnet-${version}"
    echo "${version}" > "espnet-${version}/version.txt"
    mkdir -p "espnet-${version}"/egs2/{TEMPLATE/spk1,voxceleb/spk1}
    export ESPNET_SDIST=${PWD}/espnet.tar.gz
    tar -czf "${ESPNET_SDIST}" "espnet-${version}"
    "${upstream}" tree new/tree
    [ -e new/tree/egs2/voxceleb/spk1/utils/run.pl ]
    [ "$(readlink new/tree/egs2/TEMPLATE/spk1/steps)" = ../../TEMPLATE/asr1/steps ]
    [ -z "$(find new/tree -xtype l)" ]
    run bash -c '. new/tree/tools/activate_python.sh; command -v python3; echo "${PYTHONPATH%%:*}"'
    [ "${lines[0]}" = "$(python3 -c 'import sys; print(sys.prefix)')/bin/python3" ]
    [ "${lines[1]}" = "${PWD}/new/tree" ]
    (cd new && find . | sort) > before
    "${upstream}" tree new/tree
    mkdir other
    run "${upstream}" tree other
    [ "$status" -eq 1 ] && [[ "$output" == *"other exists and is not a tree of ESPnet"* ]]
    head -c 100 "${ESPNET_SDIST}" > short.tar.gz
    ESPNET_SDIST=short.tar.gz run "${upstream}" tree new/short
    [ "$status" -eq 1 ]
    (cd new && find . | sort) | diff before -
}

@test "check names what fails, goes on, and changes nothing" {
    mkdir moved
    cp -r "${root}"/{egs2,espnet2_sv,test} moved/
    mkdir moved/tools
    cp -r "${root}"/tools/upstream* moved/tools/
    run "${upstream}" check espnet
    [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == *"is not installed in espnet: tools/upstream.sh install espnet" ]]
    moved/tools/upstream.sh install espnet
    contents > before
    run moved/tools/upstream.sh check --only names --only syntax espnet
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" == "check: names ok ["*" s]" ]]
    [[ "${lines[1]}" == "check: syntax ok ["*" s]" ]]
    mkdir -p espnet/test/espnet2/other
    touch espnet/test/espnet2/other/test_cosine.py # test/scoring/test_cosine.py is ours
    echo 'if true; then' >> moved/egs2/mini_an4/sv1/local/data.sh
    contents > before
    run moved/tools/upstream.sh check --only names --only syntax espnet
    [ "$status" -eq 1 ]
    [[ "$output" == *"    tests of ESPnet have these names: test_cosine.py"* ]]
    [[ "$output" == *"check: names FAILED"*"local/data.sh: line "*"check: syntax FAILED"* ]]
    [[ "${lines[-1]}" == "upstream.sh: error: failed: names syntax" ]]
    contents | diff before -
    run "${upstream}" check --only nothing espnet
    [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == *"--only nothing: choose from configuration names "* ]]
}
