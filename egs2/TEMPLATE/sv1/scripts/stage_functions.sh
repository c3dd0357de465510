#!/usr/bin/env bash
# Functions shared by sv.sh and the scripts in local/. Source this file.

log() {
    local fname=${BASH_SOURCE[1]##*/} message=$*
    printf '%(%Y-%m-%dT%H:%M:%S)T (%s:%s:%s) %s\n' -1 "${fname}" \
        "${BASH_LINENO[0]}" "${FUNCNAME[1]}" "${message//$'\n'/ }"
}

die() { # exits with a one-line error message: what is wrong and what to do
    local message=$*
    printf '%s\n' "${0##*/}: error: ${message//$'\n'/ }" 1>&2
    exit 1
}

# interrupted: ends the script after Ctrl-C, which also stops what it has started. Bash
# lets commands started with "&" ignore Ctrl-C, unless they begin with a trap.
interrupted() {
    trap '' INT
    wait # for parallel jobs
    echo "${0##*/}: interrupted; call it again to resume" 1>&2
    exit 130
}
# on_interrupt COMMAND: runs it after Ctrl-C; it must end the shell. A signal that comes
# while bash parses a command substitution makes it take the end of the trap for the
# missing ")", hence another one, which is never read otherwise.
on_interrupt() {
    # shellcheck disable=SC2064  # the command as it is now
    trap "$1"$'\n)' INT
}
on_interrupt interrupted

# uninterrupted COMMAND...: a short command that Ctrl-C does not stop, so that it prints
# nothing about that; the calling script ends after it
uninterrupted() {
    (
        trap '' INT
        "$@"
    )
}

# read_db NAME...: sources db.sh. These variables are set then, perhaps to nothing; their
# values in the environment take precedence, also over the db.sh of an ESPnet checkout.
read_db() {
    local name
    local -A given=()
    for name in "$@"; do
        given[${name}]=${!name:-}
    done
    . ./db.sh
    for name in "$@"; do
        printf -v "${name}" %s "${given[${name}]:-${!name:-}}"
    done
}

# describe_options SCRIPT: prints the lines between BEGIN OPTIONS and END OPTIONS
describe_options() {
    echo "Options and their defaults (--some_option VALUE):"
    sed -n '/^# BEGIN OPTIONS/,/^# END OPTIONS/{/^# \(BEGIN\|END\) /d;s/^/    /;p;}' "$1"
}

# require_file FILE ADVICE: exits with the advice if the file is missing or empty
require_file() {
    [ -s "$1" ] || die "$1 is missing or empty: $2"
}

# require_writable DIR OPTION: creates the folder; exits if it is not writable
require_writable() {
    if ! mkdir -p "$1" 2> /dev/null || ! { echo > "$1/.probe"; } 2> /dev/null; then
        rm -f "$1/.probe" 2> /dev/null || true
        die "$2 $1: cannot be written to (disk full, read-only or no permission);" \
            "choose another folder"
    fi
    rm -f "$1/.probe"
}

# replace_file FROM TO: copies FROM to TO; readers see the old or the new content, never
# half of it
replace_file() {
    write_file "$2" cat "$1"
}

# write_file FILE COMMAND...: writes what the command prints; the file keeps its content
# if the command fails or the disk is full
write_file() {
    if ! "${@:2}" > "$1.part"; then
        rm -f "$1.part"
        die "$1 cannot be written (see above)"
    fi
    mv -fT "$1.part" "$1" || die "$1 cannot be written (see above)"
}

# set_hidden PATH SUFFIX: sets hidden to the file .NAME.SUFFIX beside PATH. Like all paths
# that a command is given here, without dirname: Ctrl-C would end it and leave "".
set_hidden() {
    local path=${1%/}
    [[ ${path} == */* ]] || path=./${path}
    hidden=${path%/*}/.${path##*/}.$2
}

# make_folder_of FILE: makes the folder that the file is in
make_folder_of() {
    [[ $1 != */* ]] || mkdir -p "${1%/*}"
}

# replace_folder FROM TO: renames FROM to TO, and deletes what was there only then
replace_folder() {
    local hidden
    restore_folder "$2"
    set_hidden "$2" old
    [ ! -e "$2" ] || mv -T "$2" "${hidden}"
    mv -T "$1" "$2"
    rm -rf "${hidden}"
}

# restore_folder DIR: what a killed replace_folder has not replaced is there again
restore_folder() {
    local hidden
    set_hidden "$1" old
    if [ -e "${hidden}" ] && [ ! -e "$1" ]; then
        mv -T "${hidden}" "$1"
    fi
    rm -rf "${hidden}"
}

# fingerprint WORD...: prints a checksum of the words and of the content of those that
# name files
fingerprint() {
    uninterrupted checksum_of "$@" # both sides of its pipe, or one would write to nobody
}

checksum_of() {
    words_and_content "$@" | cksum
}

# words_and_content WORD...: prints each word, and after one that names a file the file's
# checksum and size, as "cksum < FILE". Starts two programs for all files, not two for
# each: a call of sv.sh has hundreds.
words_and_content() {
    local words=("$@") i n files=() at=() facts=() small=() small_at=() sums=()
    for i in "${!words[@]}"; do
        if [ -f "${words[i]}" ]; then
            at+=("${i}")
            files+=("${words[i]}")
            [[ ${words[i]} == /* ]] || files[-1]=./${words[i]} # may begin with "-"
        fi
    done
    if [ "${#files[@]}" -gt 0 ]; then
        mapfile -t sums < <(stat -L -c '%s %Y' "${files[@]}")
        [ "${#sums[@]}" -eq "${#files[@]}" ] || return 1 # one has gone
        for n in "${!files[@]}"; do
            facts[at[n]]=${sums[n]} # of large files: faster
            if [ "${sums[n]% *}" -ge 2000000000 ]; then
                continue
            elif [[ ${files[n]} == *$'\n'* ]]; then # makes more than one line below
                facts[at[n]]=$(cksum < "${files[n]}") || return 1
            else
                small+=("${files[n]}")
                small_at+=("${at[n]}")
            fi
        done
    fi
    if [ "${#small[@]}" -gt 0 ]; then
        mapfile -t sums < <(cksum "${small[@]}")
        [ "${#sums[@]}" -eq "${#small[@]}" ] || return 1
        for n in "${!small[@]}"; do
            facts[small_at[n]]=${sums[n]%" ${small[n]}"}
        done
    fi
    for i in "${!words[@]}"; do
        echo "${words[i]}"
        [ -z "${facts[i]:-}" ] || echo "${facts[i]}"
    done
}

# lock FILE WHAT: waits for the exclusive lock on FILE and leaves its descriptor in
# lock_fd. The lock lasts until unlock, or until this process and all of its children
# have ended. A FILE left behind is harmless. WHAT is named in the message shown while
# waiting.
lock() {
    local status
    make_folder_of "$1"
    while :; do
        exec {lock_fd}>> "$1" || die "$1: cannot be written to"
        status=0
        flock --nonblock "${lock_fd}" || status=$?
        if [ "${status}" -eq 1 ]; then
            log "waiting for another run that is making $2"
            status=0
            flock "${lock_fd}" || status=$?
        fi
        [ "${status}" -eq 0 ] ||
            log "Warning: cannot lock $1: do not start a second run in this folder"
        # the previous holder may have deleted the file: then the lock is on nothing
        [ ! "$1" -ef "/proc/self/fd/${lock_fd}" ] || return 0
        exec {lock_fd}>&-
    done
}

# unlock FILE: releases the lock in lock_fd
unlock() {
    rm -f "$1"
    exec {lock_fd}>&-
}

# once OUTPUT [--and OUTPUT]... KEY... -- COMMAND...
# Runs the command unless OUTPUT (a file or folder) is up to date: made from the same
# keys, which are words, or files that count by their content. Their fingerprint is kept
# in .NAME.done beside OUTPUT. A command that was killed or failed is run again and must
# cope with what it left behind; the script ends then. If two runs need the same output, the second one waits.
# The lock lies beside OUTPUT, so the command may empty that folder but must not delete
# it.
once() {
    try_once "$@"
    [ "${once_status}" -eq 0 ] || exit 1
}

# try_once ...: once, but the exit status of a command that fails is in once_status
try_once() {
    local output=$1 outputs=("$1") marker hidden key status keys=() lock_file lock_fd
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
    set_hidden "${output}" "done"
    marker=${hidden}
    key=$(fingerprint "${keys[@]}")
    once_status=0
    if is_up_to_date; then
        return 0
    fi
    lock_file=${marker%.done}.once.lock # not .NAME.lock, which the command may use
    lock "${lock_file}" "${output}"
    key=$(fingerprint "${keys[@]}")
    if is_up_to_date; then # another run has just made it
        unlock "${lock_file}"
        return 0
    fi
    rm -f "${marker}"
    # a subshell of its own, because "... || exit" would switch set -e off inside
    set +e
    (
        on_interrupt "exit 130"
        set -e
        "$@"
    )
    status=$?
    set -e
    [ "${lock_file}" -ef "/proc/self/fd/${lock_fd}" ] ||
        die "$1 deleted ${lock_file}: another run may have made ${output} meanwhile"
    if [ "${status}" -eq 0 ]; then
        all_exist "${outputs[@]}" || die "$1 did not make ${outputs[*]}"
        write_file "${marker}" echo "${key}"
    fi
    unlock "${lock_file}"
    [ "${status}" -ne 130 ] || interrupted
    once_status=${status}
}

# was_made_from OUTPUT KEY...: whether once has made the output from these keys
was_made_from() {
    local hidden
    set_hidden "$1" "done"
    [ -e "$1" ] && [ "$(cat "${hidden}" 2> /dev/null)" = "$(fingerprint "${@:2}")" ]
}

# is_up_to_date: whether once's outputs exist and were made from its key
is_up_to_date() {
    all_exist "${outputs[@]}" || return 1
    [ "$(cat "${marker}" 2> /dev/null)" = "${key}" ] || return 1
    [[ ${output##*/} == .* ]] || log "${output} is up to date" # hidden: no message
}

all_exist() {
    local file
    for file in "$@"; do
        [ -e "${file}" ] || return 1
    done
}

# empty_folder DIR: deletes everything but hidden files, which include once's lock
empty_folder() {
    mkdir -p "$1"
    find "$1" -mindepth 1 -maxdepth 1 ! -name '.*' -exec rm -rf {} +
}

# begin_folder DIR: empties it and makes DIR/.begun, for once: a folder of work that
# continues only with the same keys
begin_folder() {
    empty_folder "$1"
    touch "$1/.begun"
}

# quote_words WORD...: sets the array quoted to the words as a back end needs them. Those
# of Kaldi give a word without white space to a shell as it is, and put others between
# double quotes, where "$" and "`" still act. Hence no white space, and nothing that
# acts in quotes: $'..' with hexadecimal codes.
quote_words() {
    local word
    quoted=()
    for word in "$@"; do
        if [[ ! ${word} =~ ^[A-Za-z0-9_./:,=+%@^-]+$ ]]; then
            word=${word//\\/\\x5c}
            word=${word//"'"/\\x27}
            word=${word//'"'/\\x22}
            word=${word//"$"/\\x24}
            word=${word//"\`"/\\x60}
            word=${word// /\\x20}
            word=${word//$'\t'/\\x09}
            word=${word//$'\n'/\\x0a}
            word=${word//$'\v'/\\x0b}
            word=${word//$'\f'/\\x0c}
            word=${word//$'\r'/\\x0d}
            word="$'${word}'"
        fi
        quoted+=("${word}")
    done
}

# submit "CMD OPTIONS" LOG COMMAND...: runs the command through a back end (run.pl,
# slurm.pl, ...) and returns its status. For an array of jobs, put JOB=1:n at the end of
# the options and JOB into LOG.
submit() {
    local cmd=$1 logfile=$2 quoted
    shift 2
    make_folder_of "${logfile}"
    quote_words "$@"
    # shellcheck disable=SC2086
    ${cmd} "${logfile}" "${quoted[@]}"
}

# run_job "CMD OPTIONS" LOG COMMAND...: submits the command. If it fails, shows its error
# message or, if there is none, the end of its log.
run_job() {
    local status=0
    submit "$@" || status=$?
    [ "${status}" -ne 0 ] || return 0
    [ "${status}" -ne 130 ] || return 130 # Ctrl-C
    show_failure "$2"
    return 1
}

# show_failure LOG: prints the error message in the log, or its last lines
show_failure() {
    # e.g. "sv_embed: error: a.wav: no such file" or "espnet2_sv.errors.SVError: ..."
    local logs=() lines message='^([a-z_.]+: )?error: |SVError: '
    mapfile -t logs < <(compgen -G "${1//JOB/*}")
    lines=$(cat "${logs[@]}" /dev/null | grep -aE "${message}" | tail -n 1 || true)
    if [ -z "${lines}" ]; then
        lines=$(cat "${logs[@]}" /dev/null | grep -av '^# ' | tail -n 15 || true)
    fi
    echo "${lines:-no log was written}" 1>&2
}
