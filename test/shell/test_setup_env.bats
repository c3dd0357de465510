#!/usr/bin/env bats
# tools/setup_env.sh and tools/activate_python.sh, with a fake Python and pip

setup() {
    root=$(cd "${BATS_TEST_DIRNAME}/../.." && pwd -P)
    cd "${BATS_TEST_TMPDIR}" || return 1
    mkdir project project/tools project/espnet2_sv bin
    cp "${root}"/tools/{setup_env.sh,activate_python.sh,constraints.txt} project/tools/
    cp "${root}"/{setup.py,pyproject.toml} project/
    touch project/espnet2_sv/__init__.py
    setup_env=${BATS_TEST_TMPDIR}/project/tools/setup_env.sh
    cat > bin/python3 <<'PYTHON'
#!/usr/bin/env bash
# pip waits while the file slow is there and fails while the file broken is there
test_dir=$(cd "$(dirname "$0")"; while [ ! -d project ]; do cd ..; done; pwd)
case "$*" in
    *version_info*) [ ! -e "${test_dir}/old" ] && echo "$0" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python3" && cp "$0" "$3/bin/python" ;;
    *"-m pip"*)
        echo run >> "${test_dir}/pip_runs"
        while [ -e "${test_dir}/slow" ]; do sleep 0.1; done
        [ ! -e "${test_dir}/broken" ] || { echo "no matching distribution"; exit 1; }
        ;;
esac
PYTHON
    chmod +x bin/python3
    python=${BATS_TEST_TMPDIR}/bin/python3
}

runs() {
    wc -l < pip_runs
}

@test "set-up is done once, and again when the versions or the location change" {
    run "${setup_env}" --python "${python}"
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    run "${setup_env}"
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    [ "$(runs)" -eq 1 ]
    echo "numpy==1.0" >> project/tools/constraints.txt
    run "${setup_env}" --python "${python}"
    [ "$(runs)" -eq 2 ]
    sed -i 's/^dependencies = \[/&"jiwer", /' project/pyproject.toml
    run "${setup_env}" --python "${python}"
    [ "$(runs)" -eq 3 ]
    printf '[tool.other]\nline-length = 1\n' >> project/pyproject.toml
    run "${setup_env}" --python "${python}"
    [ "$(runs)" -eq 3 ]
    mv project elsewhere
    mkdir project
    run elsewhere/tools/setup_env.sh --python "${python}"
    [ "$status" -eq 0 ]
    [ "$(runs)" -eq 4 ]
}

@test "a killed set-up is repeated" {
    touch slow
    setsid "${setup_env}" --python "${python}" 3>&- &
    until [ -s pip_runs ]; do sleep 0.05; done
    kill -9 -- "-$!"
    rm slow
    run "${setup_env}" --python "${python}"
    [ "$status" -eq 0 ]
    [ "$(runs)" -eq 2 ]
}

@test "a second caller waits for the first and does not repeat it" {
    touch slow
    "${setup_env}" --python "${python}" 3>&- &
    first=$!
    until [ -s pip_runs ]; do sleep 0.05; done
    "${setup_env}" --python "${python}" > second.log 2>&1 3>&- &
    second=$!
    until grep -q waiting second.log; do sleep 0.05; done
    rm slow
    wait "${first}"
    wait "${second}"
    grep -q "another set-up is running" second.log
    [ "$(runs)" -eq 1 ]
}

@test "a failing pip shows its output and leaves no environment" {
    touch broken
    run "${setup_env}" --python "${python}"
    [ "$status" -eq 1 ]
    [[ "$output" == *"no matching distribution"* ]]
    rm broken
    run "${setup_env}" --python "${python}"
    [ "$status" -eq 0 ]
    [ "$(runs)" -eq 2 ]
}

@test "without Python 3.12 one line shows how to get it" {
    touch old
    run "${setup_env}" --python "${python}"
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    mkdir path
    for program in bash flock cksum cat dirname; do ln -s "$(command -v "${program}")" path/; done
    PATH=${BATS_TEST_TMPDIR}/path run "${setup_env}"
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == *"no Python 3.12"*"apt-get install python3.12-venv"* ]]
}

@test "activation builds the environment on first use and puts python and python3 on PATH" {
    mkdir path
    for program in bash flock cksum cat dirname df awk rm mv mkdir cp sed; do
        ln -s "$(command -v "${program}")" path/
    done
    cp "${python}" path/python3.12
    cat > use.sh <<'USE'
set -eu
. project/tools/activate_python.sh
command -v python
command -v python3
echo "${PYTHONPATH}"
USE
    PATH=${BATS_TEST_TMPDIR}/path PYTHONPATH="" run bash use.sh
    [ "$status" -eq 0 ]
    [ "${lines[1]}" = "${BATS_TEST_TMPDIR}/project/tools/venv/bin/python" ]
    [ "${lines[2]}" = "${BATS_TEST_TMPDIR}/project/tools/venv/bin/python3" ]
    [ "${lines[3]}" = "${BATS_TEST_TMPDIR}/project" ]
}

@test "failed activation prints a message and returns an error" {
    touch old
    cat > use.sh <<'USE'
set -u
. project/tools/activate_python.sh || echo "returned $?"
USE
    mkdir path
    for program in bash flock cksum cat dirname; do ln -s "$(command -v "${program}")" path/; done
    PATH=${BATS_TEST_TMPDIR}/path run bash use.sh
    [ "$status" -eq 0 ]
    [ "${lines[2]}" = "returned 1" ]
    [ "${#lines[@]}" -eq 3 ]
}

@test "in an ESPnet checkout its Python is used if it is suitable" {
    mkdir -p espnet/espnet2 espnet/tools espnet/bin path
    mv project espnet/project
    mkdir project # for the fake Python
    for program in bash cat dirname; do ln -s "$(command -v "${program}")" path/; done
    cp "${python}" espnet/bin/python3
    # like conda's, it uses unset variables and failing commands
    cat > espnet/tools/activate_python.sh <<'CHECKOUT'
false
echo "${NOT_SET}" > /dev/null
export PATH=$PWD/espnet/bin:${PATH}
CHECKOUT
    cat > use.sh <<'USE'
set -eu
. espnet/project/tools/activate_python.sh
command -v python3
echo "$- ${PYTHONPATH}"
USE
    PATH=${BATS_TEST_TMPDIR}/path PYTHONPATH="" run bash use.sh
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "${BATS_TEST_TMPDIR}/espnet/bin/python3" ]
    [[ "${lines[-1]}" =~ ^[a-zA-Z]*e[a-zA-Z]*u[a-zA-Z]*\ .*/espnet/project$ ]]
}
