#!/usr/bin/env bash
# Sets variables from the command line: `--some-option value` sets ${some_option}.
#
# Usage: set a variable to the default of each option and ${help_message} to the text of
# --help, then
#   . utils/parse_options.sh
# This leaves the positional arguments in "$@". As in Kaldi's script of this name, an
# option without a variable is an error, and so is a value other than true or false if
# the default is one of these; `--config FILE` is sourced first, so that the other
# options override it.

_parse_options_fail() {
    echo "$0: $*" 1>&2
    exit 1
}

# 1. the configuration file
for ((_i = 1; _i < $#; _i++)); do
    if [ "${!_i}" = --config ]; then
        _next=$((_i + 1))
        [ -r "${!_next}" ] || _parse_options_fail "--config ${!_next}: no such file"
        # shellcheck disable=SC1090
        . "${!_next}"
        # shellcheck disable=SC2034
        config=${!_next} # so that step 2 knows the option
    fi
done

# 2. the options
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help)
            printf '%s\n' "${help_message:-No help found.}"
            exit 0
            ;;
        --)
            shift
            break
            ;;
        --*=*)
            _parse_options_fail "write '--name value', not '$1'"
            ;;
        --*)
            _name=${1#--}
            _name=${_name//-/_}
            if [[ ! ${_name} =~ ^[A-Za-z][A-Za-z0-9_]*$ ]] || [ -z "${!_name+set}" ]; then
                _parse_options_fail "unknown option $1 (--help lists them)"
            fi
            [ $# -ge 2 ] || _parse_options_fail "option $1 needs a value"
            if [[ ${!_name} =~ ^(true|false)$ ]] && [[ ! $2 =~ ^(true|false)$ ]]; then
                _parse_options_fail "option $1 must be true or false, not '$2'"
            fi
            printf -v "${_name}" '%s' "$2"
            shift 2
            ;;
        *)
            break
            ;;
    esac
done
unset _i _next _name
true # a sourced script ends with the status of its last command
