#!/usr/bin/env bats
# utils/parse_options.sh
# shellcheck disable=SC2016  # words that must not be expanded

setup() {
    utils="${BATS_TEST_DIRNAME}/../../egs2/TEMPLATE/sv1/utils"
    cd "${BATS_TEST_TMPDIR}" || return 1
    cat > program.sh <<PROGRAM
set -eu
name=none
flag=false
long_name=
help_message="Usage: 100% help"
. "${utils}/parse_options.sh"
echo "\${name}|\${flag}|\${long_name}|\$*"
PROGRAM
}

@test "options set variables, the rest stays positional" {
    run bash program.sh --name "a b" --flag true rest --name x
    [ "$status" -eq 0 ]
    [ "$output" = "a b|true||rest --name x" ]
}

@test "dashes and underscores are the same" {
    run bash program.sh --long-name 1
    [ "$output" = "none|false|1|" ]
    run bash program.sh --long_name 2
    [ "$output" = "none|false|2|" ]
}

@test "a value may look like an option, a command or nothing" {
    run bash program.sh --name "--max_epoch 3" --long-name '$(touch oops); `touch oops`'
    [ "$output" = '--max_epoch 3|false|$(touch oops); `touch oops`|' ]
    [ ! -e oops ]
    run bash program.sh --long_name ""
    [ "$output" = "none|false||" ]
}

@test "the last of two equal options wins" {
    run bash program.sh --name a --name b
    [ "$output" = "b|false||" ]
}

@test "an unknown option is an error that names it" {
    run bash program.sh --nmae x
    [ "$status" -eq 1 ]
    [[ "$output" == *"--nmae"* ]]
    [ "${#lines[@]}" -eq 1 ]
}

@test "a boolean takes true or false only" {
    run bash program.sh --flag yes
    [ "$status" -eq 1 ]
    [[ "$output" == *"--flag must be true or false, not 'yes'"* ]]
}

@test "an option without a value and --name=value are errors" {
    run bash program.sh --name
    [ "$status" -eq 1 ]
    [[ "$output" == *"--name needs a value"* ]]
    run bash program.sh --name=x
    [ "$status" -eq 1 ]
    [[ "$output" == *"'--name=x'"* ]]
    run bash program.sh --config
    [ "$status" -eq 1 ]
}

@test "values that an option does not take are refused in one line" {
    cat > typed.sh <<PROGRAM
set -eu
stage=1 nj=4 share=0.5 flag=false word=some kind=a seeds= folds="1 2" sets=x maybe=
help_message="Options
    # [Task dependent]
    stage=1       # First.
    nj=4          # Processes
                  # per job [>=1].
    share=0.5     # Fraction.
    flag=false    # Whether.
    word=some     # A name.
    kind=a        # [a|b]
    seeds=        # None: one [numbers].
    folds='1 2'   # [numbers]
    sets=x        # Or none [any].
    maybe=        # [true|false]"
. "${utils}/parse_options.sh"
echo "\${stage}|\${nj}|\${share}|\${flag}|\${word}|\${kind}|\${seeds}|\${folds}|\${sets}|\${maybe}"
PROGRAM
    for good in "--stage 0" "--stage 123456789" "--nj 1" "--share 2" "--share 0.25" \
        "--kind b" "--flag true" "--maybe true" "--word ]" "--seeds 7"; do
        # shellcheck disable=SC2086
        run bash typed.sh ${good}
        [ "$status" -eq 0 ]
        [[ "|$output|" == *"|${good#* }|"* ]]
    done
    for empty in seeds maybe sets; do
        run bash typed.sh "--${empty}" ""
        [ "$status" -eq 0 ]
    done
    run bash typed.sh --seeds "0 1  2"
    [ "$status" -eq 0 ]
    newline=$'1\n'
    huge=99999999999999999999
    for option in stage nj share flag kind seeds folds maybe; do
        for bad in x six -1 1e3 nan inf 0x1 "1;2" '$(touch oops)' '*' '"' "1|2" "a|b" \
            "true|false" "${newline}" $'true\n' $'a\n' "${huge}" ١ TRUE 'a[$(touch oops)]'; do
            run bash typed.sh "--${option}" "${bad}"
            [ "$status" -eq 1 ]
            [ "${#lines[@]}" -eq 1 ]
            [[ "$output" == *"--${option} must be"* ]]
        done
    done
    for option in stage nj share flag word kind folds; do
        run bash typed.sh "--${option}" ""
        [ "$status" -eq 1 ]
        [[ "$output" == *"--${option} must be"*"not ''"* ]]
    done
    run bash typed.sh --nj 4 --nj 0
    [ "$status" -eq 1 ]
    [[ "$output" == *"--nj must be a whole number of at least 1, not '0'"* ]]
    echo nj=none > settings.conf
    run bash typed.sh --config settings.conf
    [ "$status" -eq 1 ]
    [[ "$output" == *"--nj must be"* ]]
    for other in PATH HOME IFS option line name word_; do
        run bash typed.sh "--${other}" x
        [ "$status" -eq 1 ]
        [[ "$output" == *"unknown option '--${other}'"* ]]
    done
    [ ! -e oops ]
}

@test "--help prints the message unchanged and exits" {
    run bash program.sh --help
    [ "$status" -eq 0 ]
    [ "$output" = "Usage: 100% help" ]
}

@test "--config is read first, options win over it" {
    printf 'name=from_file\nlong_name=from_file\n' > settings.conf
    run bash program.sh --name mine --config settings.conf
    [ "$output" = "mine|false|from_file|" ]
    run bash program.sh --config missing.conf
    [ "$status" -eq 1 ]
    [[ "$output" == *"missing.conf"* ]]
}
