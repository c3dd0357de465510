#!/usr/bin/env bats
# scripts/stage_functions.sh

setup() {
    cd "${BATS_TEST_TMPDIR}" || return 1
    template="${BATS_TEST_DIRNAME}/../../egs2/TEMPLATE/sv1"
    export PATH="${template}/utils:${PATH}"
    cat > stage.sh <<STAGE
set -euo pipefail
. "${template}/scripts/stage_functions.sh"
"\$@"
STAGE
    cat > make.sh <<'MAKE' # adds a line to made/count per run
set -eu
mkdir -p made
echo run >> made/count
[ ! -e fail ]
touch made/output
MAKE
    echo 1 > input
}

once() {
    run bash stage.sh once made/output word input -- bash make.sh
}

runs() {
    wc -l < made/count
}

@test "an output that is up to date is not made again" {
    once
    [ "$status" -eq 0 ]
    once
    [ "$status" -eq 0 ]
    [[ "$output" == *"is up to date"* ]]
    [ "$(runs)" -eq 1 ]
}

@test "a changed input, a missing output or a failure means another run" {
    once
    echo 2 > input
    once
    [ "$(runs)" -eq 2 ]
    rm made/output
    once
    [ "$(runs)" -eq 3 ]
    touch fail
    echo 3 > input
    once
    [ "$status" -eq 1 ]
    rm fail
    once
    [ "$status" -eq 0 ]
    [ "$(runs)" -eq 5 ]
}

@test "other words are other keys" {
    once
    run bash stage.sh once made/output other input -- bash make.sh
    [ "$(runs)" -eq 2 ]
}

@test "a fingerprint is of the words and of what the files hold, whatever their names" {
    # results of earlier versions stay up to date as long as it is computed like this
    local small=(input "a b" --version -n $'two\nlines' 'back\slash' "${PWD}/input" input)
    for name in "${small[@]}"; do
        echo "about ${name}" > "./${name##*/}"
    done
    truncate -s 2000000000 large # by its size and time of modification
    for name in word "${small[@]}" "" input/none; do
        echo "${name}"
        [ ! -f "${name}" ] || cksum < "${name}"
    done > expected
    printf 'large\n%s\nmade\n' "$(stat -c '%s %Y' large)" >> expected
    mkdir made
    run bash stage.sh fingerprint word "${small[@]}" "" input/none large made
    [ "$output" = "$(cksum < expected)" ]
}

@test "a function stops at its first failing command" {
    cat >> stage.sh <<'STAGE'
work() { false; touch made; }
once made -- work
STAGE
    run bash stage.sh true
    [ "$status" -eq 1 ]
    [ ! -e made ]
}

@test "a command that does not make its output is an error" {
    run bash stage.sh once missing -- true
    [ "$status" -eq 1 ]
    [[ "$output" == *"did not make missing"* ]]
}

@test "a failing job shows its own error line" {
    run bash stage.sh run_job run.pl log bash -c 'echo noise; echo "error: a.wav: no such file"; exit 1'
    [ "$status" -eq 1 ]
    [ "${lines[1]}" = "error: a.wav: no such file" ]
    [ "${#lines[@]}" -eq 2 ]
}

@test "a failing job without an error line shows the end of its log" {
    run bash stage.sh run_job "run.pl JOB=1:2" log.JOB bash -c 'echo "unlucky JOB"; [ JOB = 2 ]'
    [ "$status" -eq 1 ]
    [[ "$output" == *"1 / 2 failed"* ]]
    [[ "$output" == *"unlucky 1"* ]]
}

@test "a folder that cannot be written to is an error" {
    touch file
    run bash stage.sh require_writable file/exp --expdir
    [ "$status" -eq 1 ]
    [[ "$output" == *"--expdir file/exp: cannot be written to"* ]]
    run bash stage.sh require_writable new/exp --expdir
    [ "$status" -eq 0 ]
    [ -z "$(ls -A new/exp)" ]
}

@test "of two runs that make one output, the second waits and finds it up to date" {
    cat > make.sh <<'MAKE'
set -eu
mkdir -p made
echo run >> made/count
until [ -e go ]; do sleep 0.05; done
touch made/output
MAKE
    bash stage.sh once made/output input -- bash make.sh > first.log 2>&1 3>&- &
    first=$!
    until [ -s made/count ]; do sleep 0.05; done
    bash stage.sh once made/output input -- bash make.sh > second.log 2>&1 3>&- &
    second=$!
    until grep -q "waiting for another run" second.log; do sleep 0.05; done
    touch go
    wait "${first}"
    wait "${second}"
    grep -q "is up to date" second.log
    [ "$(runs)" -eq 1 ]
    [ ! -e made/.output.once.lock ]
}

@test "a command that removes the folder of its output, and with it the lock, fails" {
    printf 'rm -rf made; mkdir made; touch made/output\n' > remove.sh
    run bash stage.sh once made/output input -- bash remove.sh
    [ "$status" -eq 1 ]
    [[ "$output" == *"deleted made/.output.once.lock"* ]]
}

@test "a run that is killed frees its output for the next" {
    printf 'mkdir -p made; echo run >> made/count; exec sleep 1000\n' > slow.sh
    setsid bash stage.sh once made/output input -- bash slow.sh > first.log 2>&1 3>&- &
    until [ -s made/count ]; do sleep 0.05; done
    kill -9 -- "-$!"
    once
    [ "$status" -eq 0 ]
    [ "$(runs)" -eq 2 ]
}

@test "outputs made together are remade together" {
    printf 'touch a b; echo run >> count\n' > both.sh
    for missing in none b a; do
        rm -f "${missing}"
        run bash stage.sh once a --and b input -- bash both.sh
        [ "$status" -eq 0 ]
        [ -e b ] && [ -e a ]
    done
    [ "$(wc -l < count)" -eq 3 ]
    run bash stage.sh once a --and b --and c input -- bash both.sh
    [ "$status" -eq 1 ]
    [[ "$output" == *"did not make a b c"* ]]
}

@test "a command may lock its output itself" {
    cat > lock.py <<'PYTHON'
import fcntl, pathlib
with open(".output.lock", "a") as lock: # as espnet2_sv/fileio.py names it
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    pathlib.Path("output").touch()
PYTHON
    run bash stage.sh once output -- python3 lock.py
    [ "$status" -eq 0 ]
}

@test "a folder of work continues with the same keys and is emptied for others" {
    begin() {
        bash stage.sh once work/.begun "$1" -- begin_folder work
    }
    begin a
    mkdir work/part && touch work/file
    begin a
    [ -e work/file ] && [ -e work/part ]
    begin b
    [ "$(ls work)" = "" ]
}

@test "a reader never sees half of a replaced file" {
    echo old > target
    echo new > source
    exec 4< target
    bash stage.sh replace_file source target
    [ "$(cat <&4)" = old ]
    [ "$(cat target)" = new ]
    [ ! -e target.part ]
}

@test "a lock lasts as long as the processes that a killed run left behind" {
    printf 'mkdir -p made; sleep 1000 & echo $! > made/pid; wait\n' > slow.sh
    bash stage.sh once made/output input -- bash slow.sh > first.log 2>&1 3>&- &
    first=$!
    until [ -s made/pid ]; do sleep 0.05; done
    kill -KILL "${first}"
    printf 'touch made/output\n' > quick.sh
    bash stage.sh once made/output input -- bash quick.sh > second.log 2>&1 3>&- &
    second=$!
    until grep -q "waiting for another run" second.log; do sleep 0.05; done
    [ ! -e made/output ]
    kill "$(cat made/pid)"
    wait "${second}"
    [ -e made/output ]
}

@test "the environment goes before db.sh, an ESPnet checkout's, too; unknown names are empty" {
    printf 'VOXCELEB=\nMUSAN=downloads\nRIR=downloads\n' > db.sh # as ESPnet's
    cat > places.sh <<PLACES
set -euo pipefail
. "${template}/scripts/stage_functions.sh"
read_db VOXCELEB MUSAN RIR RIRS
echo "\${VOXCELEB},\${MUSAN},\${RIR},\${RIRS}"
PLACES
    run env -u RIR -u RIRS VOXCELEB=/v MUSAN=/m bash places.sh
    [ "$output" = "/v,/m,downloads," ]
    cp "${template}/db.sh" .
    run env -u VOXCELEB -u MUSAN -u RIRS RIR=/r bash places.sh
    [ "$output" = "downloads,downloads/musan,/r,/r" ]
}
