#!/usr/bin/env bash
# Stands in for Kaldi's parse_options.sh, to be sourced: sets any variable that exists, by
# eval, and checks only what should be true or false.
while [[ ${1:-} == --* ]]; do
    name=${1#--}
    name=${name//-/_}
    [ -n "${!name+set}" ] || { echo "$0: invalid option $1" 1>&2 && exit 1; }
    if [[ ${!name} =~ ^(true|false)$ ]] && [[ ! $2 =~ ^(true|false)$ ]]; then
        echo "$0: expected \"true\" or \"false\": $1 $2" 1>&2
        exit 1
    fi
    eval "${name}=\"$2\""
    shift 2
done
true
