#!/usr/bin/env bash
# Sets variables from the command line: `--some-option value` sets ${some_option}.
#
# Usage: set a variable to the default of each option and ${help_message} to the text of
# --help, then
#   . utils/parse_options.sh
# This leaves the positional arguments in "$@". As in Kaldi's script of this name, an
# option without a variable is an error; `--config FILE` is sourced first, so that the
# other options override it.
#
# Values are checked against the default: a default of true or false allows only these, a
# whole number only whole numbers, a decimal number only numbers, and only an empty
# default an empty value. A line of the help text such as
#   stage=1    # Processes starts from the specified stage [>=1].
# narrows this by what it has in brackets:
#   [>=N]      a whole number, at least N
#   [a|b|c]    one of these words
#   [numbers]  whole numbers with blanks between
#   [any]      anything, also nothing

_parse_options_fail() {
    echo "$0: error: $*" 1>&2
    exit 1
}

# _note_defaults: reads the names and brackets in the help text, and the defaults
declare -A _default=() _allowed=()
_note_defaults() {
    local line name='' option='^ *([A-Za-z][A-Za-z0-9_]*)=' bracket='#.*\[([^][ ]+)\]'
    while IFS= read -r line; do
        [[ ! ${line} =~ ${option} ]] || name=${BASH_REMATCH[1]}
        [ -n "${name}" ] && [ -n "${!name+set}" ] || continue
        _default[${name}]=${!name}
        [[ ! ${line} =~ ${bracket} ]] || _allowed[${name}]=${BASH_REMATCH[1]}
    done <<< "${help_message:-}"
}

# _check_option NAME VALUE: exits with one line if the value is not allowed
_check_option() {
    local default=${_default[$1]} allowed=${_allowed[$1]:-} word wanted='' words=()
    local whole='^(0|[1-9][0-9]{0,8})$' decimal='^(0|[1-9][0-9]{0,8})(\.[0-9]+)?$'
    [ "${allowed}" != any ] || return 0
    [ -n "$2" ] || [ -n "${default}" ] || return 0
    if [ -z "${allowed}" ]; then
        if [[ ${default} =~ ^(true|false)$ ]]; then
            allowed="true|false"
        elif [[ ${default} =~ ${whole} ]]; then
            allowed=">=0"
        elif [[ ${default} =~ ${decimal} ]]; then
            [[ $2 =~ ${decimal} ]] || wanted="a number"
        fi
    fi
    case "${allowed}" in
        ">="*)
            [[ $2 =~ ${whole} ]] && [ "$2" -ge "${allowed#>=}" ] \
                || wanted="a whole number of at least ${allowed#>=}"
            ;;
        numbers)
            read -r -a words <<< "${2//$'\n'/x}"
            for word in "${words[@]:-}"; do
                [[ ${word} =~ ${whole} ]] || wanted="whole numbers with blanks between"
            done
            ;;
        *"|"*)
            wanted="${allowed//|/ or }"
            IFS='|' read -r -a words <<< "${allowed}"
            for word in "${words[@]}"; do
                [ "$2" != "${word}" ] || wanted=
            done
            ;;
        *) [ -n "$2" ] || wanted="given" ;;
    esac
    word=${2:0:100}
    [ -z "${wanted}" ] || _parse_options_fail \
        "option --$1 must be ${wanted}, not ${word@Q} (--help lists the options)"
}

_note_defaults
_listed=${#_default[@]} # 0 if the help text lists no options

# 1. the configuration file
for ((_i = 1; _i < $#; _i++)); do
    if [ "${!_i}" = --config ]; then
        _next=$((_i + 1))
        [ -f "${!_next}" ] && [ -r "${!_next}" ] \
            || _parse_options_fail "--config ${!_next}: no such file"
        # shellcheck disable=SC1090
        . "${!_next}"
        # shellcheck disable=SC2034
        config=${!_next} # so that step 2 knows the option
        for _name in "${!_default[@]}"; do
            _check_option "${_name}" "${!_name}"
        done
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
            _parse_options_fail "write '--name value', not ${1@Q}"
            ;;
        --*)
            _name=${1#--}
            _name=${_name//-/_}
            if [[ ! ${_name} =~ ^[A-Za-z][A-Za-z0-9_]*$ ]] || [ -z "${!_name+set}" ]; then
                _parse_options_fail "unknown option ${1@Q} (--help lists them)"
            fi
            if [ -z "${_default[${_name}]+set}" ]; then
                [ "${_listed}" -eq 0 ] || [ "${_name}" = config ] \
                    || _parse_options_fail "unknown option ${1@Q} (--help lists them)"
                _default[${_name}]=${!_name}
            fi
            [ $# -ge 2 ] || _parse_options_fail "option $1 needs a value"
            _check_option "${_name}" "$2"
            printf -v "${_name}" '%s' "$2"
            shift 2
            ;;
        *)
            break
            ;;
    esac
done
unset -f _parse_options_fail _note_defaults _check_option
unset _i _next _name _listed _default _allowed
true # a sourced script ends with the status of its last command
