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

# lock FILE WHAT: waits until no other process holds the lock, and leaves it in lock_fd. It is held
# until unlock, or the end of this process and all that it starts. FILE may stay behind, and means
# nothing; WHAT is to be told while it waits.
lock() {
    local status
    mkdir -p "$(dirname "$1")"
    while :; do
        exec {lock_fd}>> "$1" || die "$1: cannot be written to"
        status=0
        try_lock "${lock_fd}" 6 || status=$? # exclusive, without waiting
        if [ "${status}" -eq 1 ]; then
            log "waiting for another run, which is making $2"
            status=0
            try_lock "${lock_fd}" 2 || status=$?
        fi
        # a file system without locks: as if alone
        [ "${status}" -eq 0 ] || log "Warning: $1 cannot be locked: run one thing at a time in this folder"
        # its last holder may have removed it
        [ ! "$1" -ef "/proc/self/fd/${lock_fd}" ] || return 0
        exec {lock_fd}>&-
    done
}

# try_lock FD OPERATION: as flock(2); status 1 if another holds the lock, 2 if there are no locks
try_lock() {
    perl -MErrno -e '
        open(my $file, ">>&=", $ARGV[0]) or exit 2;
        flock($file, $ARGV[1]) or exit($!{EWOULDBLOCK} ? 1 : 2)' "$@"
}

# unlock FILE: gives up the lock in lock_fd
unlock() {
    rm -f "$1"
    exec {lock_fd}>&-
}

# once OUTPUT [--and OUTPUT]... KEY... -- COMMAND...
# Runs the command unless it has made OUTPUT (a file or folder) from the same keys before: words,
# and files that count by their content. The note about it is the file .NAME.done beside OUTPUT.
# A command that was killed or has failed is run again, and must know what to do with what it
# finds. Of two runs that make one output, the second waits, and finds it done; the lock they share
# is beside OUTPUT, so the command may empty that folder but not remove it.
once() {
    local output=$1 outputs=("$1") marker key status keys=() lock_file lock_fd
    shift
    while [ "$1" = --and ]; do
        outputs+=("$2")
        shift 2
    done
    while [ "$1" != -- ]; do
        keys+=("$1")
        shift
    done
    shift
    marker=$(dirname "${output}")/.$(basename "${output}").done
    key=$(fingerprint "${keys[@]}")
    if done_before; then
        return 0
    fi
    lock_file=${marker%.done}.once.lock # the command may lock .NAME.lock
    lock "${lock_file}" "${output}"
    key=$(fingerprint "${keys[@]}")
    if done_before; then # by another run, meanwhile
        unlock "${lock_file}"
        return 0
    fi
    rm -f "${marker}"
    # in a subshell of its own right, not "... || exit", in which set -e would be off
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    [ "${lock_file}" -ef "/proc/self/fd/${lock_fd}" ] ||
        die "$1 has removed ${lock_file}: another run may have made ${output} at the same time"
    if [ "${status}" -eq 0 ]; then
        all_exist "${outputs[@]}" || die "$1 has not made ${outputs[*]}"
        echo "${key}" > "${marker}"
    fi
    unlock "${lock_file}"
    [ "${status}" -eq 0 ] || exit 1
}

# done_before: whether once's outputs were made from its key
done_before() {
    all_exist "${outputs[@]}" && [ "$(cat "${marker}" 2> /dev/null)" = "${key}" ] || return 1
    log "${outputs[0]}: done before"
}

all_exist() {
    local file
    for file in "$@"; do
        [ -e "${file}" ] || return 1
    done
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
    lines=$(cat "${logs[@]}" /dev/null | grep -aE "${told}" | tail -n 1 || true)
    if [ -z "${lines}" ]; then
        lines=$(cat "${logs[@]}" /dev/null | grep -av '^# ' | tail -n 15 || true)
    fi
    echo "${lines:-no log has been written}" 1>&2
}
