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
    run bash program.sh --name ""
    [ "$output" = "|false||" ]
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
