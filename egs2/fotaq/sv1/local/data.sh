#!/usr/bin/env bash
# Prepares data/ from the voices of "Flight of the Amazon Queen", a freely
# redistributable game. Debian's package (35 MB) is fetched into downloads/ unless the
# folder in db.sh has it; nothing is installed. For each fold F of 1, 2 and 3:
#   foldF_train            speaker training; characters who sound like the same actor
#                          are one class
#   foldF_valid            characters held out of training, and trials
#   foldF_test             test characters, and trials of utterances
#   foldF_test4            the same, and trials of models enrolled with 4 utterances
#   foldF_asr_train        clips and texts of training characters, without the texts of
#   foldF_asr_dev, foldF_asr_test_seen   held-out texts of training characters
#   foldF_asr_test_unseen  clips of test characters with texts not in foldF_asr_train
# and clips/ (audio), about/characters (clips, seconds, texts used, test fold) and
# about/dropped (unused texts with the reason).
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
stage=1                # First stage: 1 fetches the package, 2 makes data/ [>=1].
stop_stage=100         # Last stage [>=1].
fotaq=                 # queen.1c, Debian's package, or its folder (default: see db.sh).
sample_rate=16000      # Sampling rate of the clips in Hz (--fs of run.sh) [>=1].
shortest=2.0           # Minimum seconds of an utterance; shorter clips are joined.
most_minutes=10        # Maximum minutes per voice in speaker training.
test_utterances=60     # Maximum utterances per character in a validation or test set.
target_trials=500      # Maximum target trials per character.
nontarget_trials=300   # Maximum nontarget trials per pair of characters.
asr_share=0.06         # Fraction of texts for each of the two held-out ASR sets.
allow_incomplete=false # Continue if the archive differs from the known one.
seed=0                 # Seed of all random selections.
nj=2                   # Number of decoding processes [>=1].
# END OPTIONS

help_message="Usage: $0 [options]

$(describe_options "$0")"

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "no positional arguments are understood: $1 (see --help)"
. ./path.sh
read_db FOTAQ
require_writable downloads "the recipe's folder"
require_writable data "the recipe's folder"

package=flight-of-the-amazon-queen
own_file="or give the file: --local_data_opts '--fotaq queen.1c'"

# find_first PATTERN: the first file that matches
find_first() {
    compgen -G "$1" | head -n 1 || true
}

# fetch_package: downloads Debian's package into downloads/
fetch_package() {
    local part=downloads/.fetch deb name
    command -v apt-get > /dev/null \
        || die "there is no apt-get to fetch ${package}; ${own_file}"
    rm -rf "${part}" && mkdir "${part}"
    log "Fetching ${package} (35 MB): ${part}.log"
    (cd "${part}" && apt-get download "${package}") > "${part}.log" 2>&1 \
        || die "apt-get cannot fetch ${package}" \
            "($(grep '^E:' "${part}.log" | tail -n 1));" \
            "run apt-get update and check the network, ${own_file}"
    deb=$(find_first "${part}/*.deb")
    require_file "${deb:-${part}/${package}.deb}" \
        "apt-get fetched nothing, see ${part}.log"
    name=$(basename "${deb}")
    mv "${deb}" "${part}.part"
    rm -r "${part}"
    mv "${part}.part" "downloads/${name}" # last: it means that nothing is left to do
}

# unpack_package DEB: extracts queen.1c
unpack_package() {
    local part=downloads/.queen.part
    command -v dpkg-deb > /dev/null \
        || die "there is no dpkg-deb to unpack $1; ${own_file}"
    dpkg-deb --fsys-tarfile "$1" 2> "${part}.log" \
        | tar -xOf - --wildcards '*/queen.1c' > "${part}" 2>> "${part}.log" \
        || die "$1: cannot be unpacked ($(head -n 1 "${part}.log"));" \
            "remove it to fetch it again"
    rm "${part}.log"
    mv -fT "${part}" downloads/queen.1c
}

place=${fotaq:-${FOTAQ:-downloads}}
[ -e "${place}" ] || die "${place}: does not exist; correct --fotaq, or FOTAQ in db.sh"
queen=${place} deb=
if [ -d "${place}" ]; then
    queen=${place}/queen.1c
    deb=$(find_first "${place}/${package}_*.deb")
elif [[ ${place} == *.deb ]]; then
    deb=${place}
fi
in_package=false
if [ -n "${deb}" ] || [ ! -e "${queen}" ]; then
    in_package=true
    queen=downloads/queen.1c
fi

if [ "${stage}" -le 1 ] && [ "${stop_stage}" -ge 1 ] && "${in_package}"; then
    log "stage 1: Fetch and unpack ${package}: ${queen}"
    # also if nothing is to be fetched: a run that was killed may have left the lock
    lock downloads/.fetch.lock "downloads/${package}_*.deb"
    deb=${deb:-$(find_first "downloads/${package}_*.deb")}
    [ -n "${deb}" ] || fetch_package
    unlock downloads/.fetch.lock
    deb=${deb:-$(find_first "downloads/${package}_*.deb")}
    once "${queen}" "${deb}" -- unpack_package "${deb}"
fi

if [ "${stage}" -le 2 ] && [ "${stop_stage}" -ge 2 ]; then
    log "stage 2: Data preparation from ${queen}: data/"
    require_file "${queen}" "run stage 1 first, or correct --fotaq"
    options=(--queen "${queen}" --sample_rate "${sample_rate}" --shortest "${shortest}"
        --most_minutes "${most_minutes}" --test_utterances "${test_utterances}"
        --target_trials "${target_trials}" --nontarget_trials "${nontarget_trials}"
        --asr_share "${asr_share}" --allow_incomplete "${allow_incomplete}"
        --seed "${seed}")
    once data/about/characters "${options[@]}" -- \
        python3 local/prepare_fotaq.py "${options[@]}" --output_dir data --nj "${nj}"
fi
