#!/usr/bin/env bash
# Functions that sv.sh and the scripts in local/ share. Source this.

log() {
    local fname=${BASH_SOURCE[1]##*/}
    echo -e "$(date '+%Y-%m-%dT%H:%M:%S') (${fname}:${BASH_LINENO[0]}:${FUNCNAME[1]}) $*"
}

die() { # one line that says what is wrong and what to do
    echo "${0##*/}: error: $*" 1>&2
    exit 1
}

# describe_options SCRIPT: for its --help, the lines between its marks BEGIN OPTIONS and END OPTIONS
describe_options() {
    echo "Options, with their defaults (--some_option VALUE):"
    sed -n '/^# BEGIN OPTIONS/,/^# END OPTIONS/{/^# \(BEGIN\|END\) /d;s/^/    /;p;}' "$1"
}

# require_file FILE ADVICE: stops with the advice if the file is not there
require_file() {
    [ -s "$1" ] || die "$1 is missing or empty: $2"
}

# require_writable DIR OPTION: makes the folder; stops if nothing can be written to it
require_writable() {
    if ! mkdir -p "$1" 2> /dev/null || ! { : > "$1/.probe.$$"; } 2> /dev/null; then
        die "$2 $1: cannot be written to (full, read-only or not yours); choose another folder"
    fi
    rm -f "$1/.probe.$$"
}

# fingerprint WORD...: a line that changes with the words and the content of the files among them
fingerprint() {
    local word
    for word in "$@"; do
        echo "${word}"
        if [ -f "${word}" ]; then
            if [ "$(wc -c < "${word}")" -lt 2000000000 ]; then
                cksum < "${word}"
            else # size and time of change are quicker
                perl -e 'print join(" ", (stat $ARGV[0])[7, 9]), "\n"' "${word}"
            fi
        fi
    done | cksum
}

# once OUTPUT KEY... -- COMMAND...
# Runs the command unless it has made OUTPUT (a file or folder) from the same keys before: words,
# and files that count by their content. The note about it is the file .NAME.done beside OUTPUT.
# A command that was killed or has failed is run again, and must know what to do with what it
# finds.
once() {
    local output=$1 marker key status keys=()
    shift
    while [ "$1" != -- ]; do
        keys+=("$1")
        shift
    done
    shift
    marker=$(dirname "${output}")/.$(basename "${output}").done
    key=$(fingerprint "${keys[@]}")
    if [ -e "${output}" ] && [ "$(cat "${marker}" 2> /dev/null)" = "${key}" ]; then
        log "${output}: done before"
        return 0
    fi
    mkdir -p "$(dirname "${output}")"
    rm -f "${marker}"
    # in a subshell of its own right, not "... || exit", in which set -e would be off
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    [ "${status}" -eq 0 ] || exit 1
    [ -e "${output}" ] || die "$1 has not made ${output}"
    echo "${key}" > "${marker}"
}

# run_job "CMD OPTIONS" LOG COMMAND...: runs through a back end (run.pl, slurm.pl, ...); if the
# command fails, shows its own error line or, where it has none, the end of the log. For an
# array of jobs put JOB=1:n at the end of the options and JOB into LOG.
run_job() {
    local cmd=$1 logfile=$2
    shift 2
    mkdir -p "$(dirname "${logfile}")"
    # shellcheck disable=SC2086
    ${cmd} "${logfile}" "$@" && return 0
    show_failure "${logfile}"
    return 1
}

# show_failure LOG: the line that says what went wrong, or the last lines of the log
show_failure() {
    local logs=() lines told='^([a-z_.]+: )?error: |SVError: '
    mapfile -t logs < <(compgen -G "${1//JOB/*}")
    lines=$(cat "${logs[@]}" /dev/null | grep -E "${told}" | tail -n 1 || true)
    if [ -z "${lines}" ]; then
        lines=$(cat "${logs[@]}" /dev/null | grep -v '^# ' | tail -n 15 || true)
    fi
    echo "${lines:-no log has been written}" 1>&2
}
