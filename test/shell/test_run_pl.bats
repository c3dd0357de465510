#!/usr/bin/env bats
# utils/run.pl
# shellcheck disable=SC2016,SC1003  # words that must not be expanded

setup() {
    run_pl="${BATS_TEST_DIRNAME}/../../egs2/TEMPLATE/sv1/utils/run.pl"
    cd "${BATS_TEST_TMPDIR}" || return 1
}

has_ended() { # the process whose id is in the file $1
    [ ! -e "/proc/$(cat "$1")" ]
}

@test "a job's output, command, times and status are in its log" {
    run "${run_pl}" logs/deep/one.log bash -c 'echo to stdout; echo to stderr >&2'
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    grep -q "^# bash -c" logs/deep/one.log
    grep -q "^# Started at " logs/deep/one.log
    grep -q "^to stdout$" logs/deep/one.log
    grep -q "^to stderr$" logs/deep/one.log
    grep -q "^# Ended (code 0) at .*, elapsed time [0-9]* seconds$" logs/deep/one.log
}

@test "JOB is replaced in the log's name and in the command" {
    "${run_pl}" JOB=2:4 job.JOB.log echo "number JOB"
    [ ! -e job.1.log ]
    for job in 2 3 4; do grep -q "^number ${job}$" "job.${job}.log"; done
}

@test "options of cluster back ends are accepted" {
    run "${run_pl}" --mem 4G --gpu 0 --num-threads 2 --name exp/x/train.log --time 1-0 \
        JOB=1:2 --max-jobs-run 1 job.JOB.log true
    [ "$status" -eq 0 ]
    [ -z "$output" ]
}

@test "words with special characters arrive as they are" {
    "${run_pl}" one.log printf '<%s>\n' "it's" 'a  b' '$HOME' '{"k": 1}' '' '*' 'x=(1)' '\'
    run grep '^<' one.log
    [ "$output" = "$(printf '<%s>\n' "it's" 'a  b' '$HOME' '{"k": 1}' '' '*' 'x=(1)' '\')" ]
}

@test "any word arrives as it is" {
    local characters=($'\n' $'\t' ' ' \' '"' '$' '*' '?' '~' '!' '#' '&' '|' '<' '>' ';'
        '(' ')' '{' '}' '[' ']' '\' '`' '%' '@' '=' '-' '^' a 1 é $'\r' $'\1' $'\377')
    local words=("" $'\n' $'a\n' $'|\n' $'2>&1\n' $'&&\n' $'\na' '|a' '||a' '>>>' '-n'
        '@a' '~' 'JO' '$(touch oops)' '`touch oops`' "';touch oops'" $'x\n;touch oops')
    for _ in {1..200}; do
        word=
        for ((i = RANDOM % 6; i >= 0; i--)); do
            word+=${characters[RANDOM % ${#characters[@]}]}
        done
        # as documented, these act as operators
        [[ ${word} =~ ^([|\<\;]|[0-9]?\>\>?|[0-9]?\>\&[0-9]|\&\&|\|\||\&\>)$ ]] || words+=("${word}")
    done
    "${run_pl}" one.log python3 -c 'import os, sys
open("words", "wb").write(b"".join(os.fsencode(w) + b"\0" for w in sys.argv[1:]))' \
        "${words[@]}"
    printf '%s\0' "${words[@]}" | cmp - words
    [ ! -e oops ]
}

@test "shell operators act" {
    "${run_pl}" one.log echo abc '|' tr a-c A-C '>' out.txt
    [ "$(cat out.txt)" = ABC ]
    run "${run_pl}" one.log false '||' true
    [ "$status" -eq 0 ]
}

@test "a failing job is reported with its log" {
    run "${run_pl}" one.log bash -c 'exit 3'
    [ "$status" -eq 1 ]
    [ "$output" = "run.pl: job failed, log is in one.log" ]
    grep -q "# Ended (code 3)" one.log
    run "${run_pl}" JOB=1:3 job.JOB.log test JOB -eq 2
    [ "$status" -eq 1 ]
    [ "$output" = "run.pl: 2 / 3 failed, log is in job.*.log" ]
}

@test "a job that is killed has failed" {
    run "${run_pl}" one.log bash -c 'kill -9 $$'
    [ "$status" -eq 1 ]
    grep -q "signal 9" one.log
}

@test "--max-jobs-run limits how many run at a time" {
    cat > count.sh <<'JOB'
touch "running.$1"
until [ -e met ]; do # two of them
    [ "$(ls running.* | wc -l)" -lt 2 ] || touch met
    sleep 0.05
done
ls running.* | wc -l
sleep 0.1
rm "running.$1"
JOB
    "${run_pl}" --max-jobs-run 2 JOB=1:6 job.JOB.log bash count.sh JOB
    most=$(grep -h '^[0-9]*$' job.*.log | sort -n | tail -n 1)
    [ "${most}" -eq 2 ]
}

@test "wrong usage is one line" {
    run "${run_pl}" JOB=1:2 same.log true
    [ "$status" -eq 1 ]
    [[ "$output" == *"put JOB into its name"* ]]
    run "${run_pl}" JOB=0:2 job.JOB.log true
    [ "$status" -eq 1 ]
    [[ "$output" == *"JOB=0:2"* ]]
    run "${run_pl}" only.log
    [ "$status" -eq 1 ]
    [[ "$output" == *"usage"* ]]
}

@test "Ctrl-C ends the jobs, then run.pl, without a message" {
    setsid "${run_pl}" --max-jobs-run 3 JOB=1:3 job.JOB.log bash -c 'echo $$ > pid.JOB; sleep 10000' \
        > output 2>&1 3>&- &
    runner=$!
    for job in 1 2 3; do until [ -s "pid.${job}" ]; do sleep 0.05; done; done
    kill -INT -- "-${runner}" # as the terminal does
    status=0
    wait "${runner}" || status=$?
    [ "${status}" -eq 130 ]
    [ ! -s output ]
    for job in 1 2 3; do has_ended "pid.${job}"; done
}

@test "of SIGINT that reaches only run.pl, its jobs are told" {
    "${run_pl}" one.log bash -c 'echo $$ > pid; exec sleep 10000' 3>&- &
    runner=$!
    until [ -s pid ]; do sleep 0.05; done
    kill -INT "${runner}"
    status=0
    wait "${runner}" || status=$?
    [ "${status}" -eq 130 ]
    has_ended pid
}

@test "a log that cannot be written is one line, and stops the other jobs" {
    mkdir -p job.2.log
    run "${run_pl}" JOB=1:2 job.JOB.log bash -c 'echo $$ > pid.JOB; exec sleep 10000'
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ "$output" == *"cannot write the log job.2.log"* ]]
    [ ! -e pid.1 ] || has_ended pid.1
}

@test "a job whose log meets a full disk has failed" {
    ln -s /dev/full one.log
    run "${run_pl}" one.log true
    [ "$status" -eq 1 ]
    [[ "$output" == *"job failed, log is in one.log" ]]
}

@test "stopping run.pl stops its jobs" {
    "${run_pl}" one.log bash -c 'echo $$ > pid; exec sleep 10000' 3>&- &
    runner=$!
    until [ -s pid ]; do sleep 0.05; done
    kill -TERM "${runner}"
    wait "${runner}" || true
    while kill -0 "$(cat pid)" 2> /dev/null; do sleep 0.05; done
}
