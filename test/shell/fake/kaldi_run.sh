#!/usr/bin/env bash
# Stands in for Kaldi's run.pl: gives its words to a shell by the same rules. A word
# without white space stays bare; of the others, those with a double quote get single
# quotes, the rest double quotes. The name of the log is never quoted.
while [[ $1 == -* ]]; do
    shift 2
done
first=1 last=1 name=
if [[ $1 =~ ^([A-Za-z_]+)=([0-9]+):([0-9]+)$ ]]; then
    name=${BASH_REMATCH[1]} first=${BASH_REMATCH[2]} last=${BASH_REMATCH[3]}
    shift
fi
log=$1
shift
command=
for word in "$@"; do
    case "${word}" in
        "") command+='"" ' ;;
        *[[:space:]]*\"* | *\"*[[:space:]]*) command+="'${word}' " ;;
        *[[:space:]]*) command+="\"${word}\" " ;;
        *) command+="${word} " ;;
    esac
done
status=0
for ((job = first; job <= last; job++)); do
    line="( ${command}) > ${log} 2>&1"
    bash <<< "${line//${name:-$'\1'}/${job}}" || status=1
done
exit "${status}"
