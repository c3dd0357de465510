#!/usr/bin/env bash
# Makes data/synthetic for ASR pretraining: example sentences of WordNet, spoken by
# espeak-ng and flite in changing voices. What of these is not installed is fetched from
# Debian into downloads/packages/ and used from there.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
sentences=40000   # How many; there are 41,748; 25 hours, 1.7 GB [>=1].
sample_rate=16000 # Sampling rate of the recordings in Hz [>=1].
seed=0            # Seed of order and voices.
nj=2              # Number of processes [>=1].
# END OPTIONS

help_message="Usage: $0 [options]

$(describe_options "$0")"

. utils/parse_options.sh
[ $# -eq 0 ] || die "no positional arguments are understood: $1 (see --help)"
. ./path.sh
require_writable downloads "the recipe's folder"
require_writable data "the recipe's folder"

programs=(espeak-ng flite wordnet-base)
packages=downloads/packages

# fetch: unpacks the packages that apt-get would install now; that may be none
fetch() {
    local part=downloads/.packages.part deb
    rm -rf "${part}"
    mkdir -p "${part}/archives/partial" "${part}/unpacked"
    command -v apt-get > /dev/null \
        || die "there is no apt-get to fetch ${programs[*]}; install them, or run without" \
            "synthetic speech: --synthetic 0"
    log "Fetching ${programs[*]} (26 MB): downloads/packages.log"
    apt-get -q -y -o Debug::NoLocking=1 -o "Dir::Cache=${PWD}/${part}" \
        -o "Dir::Cache::archives=${PWD}/${part}/archives" --no-install-recommends \
        --download-only install "${programs[@]}" > downloads/packages.log 2>&1 \
        || die "apt-get cannot fetch them" \
            "($(grep '^E:' downloads/packages.log | tail -n 1)); run apt-get update and" \
            "check the network, install them, or run with --synthetic 0"
    for deb in "${part}"/archives/*.deb; do
        [ ! -e "${deb}" ] || dpkg-deb -x "${deb}" "${part}/unpacked"
    done
    rm -rf "${packages}"
    mv "${part}/unpacked" "${packages}"
    rm -r "${part}"
}

speak() {
    lock downloads/.packages.lock "${packages}"
    [ -e "${packages}" ] || fetch
    unlock downloads/.packages.lock
    local wordnet=${packages}/usr/share/wordnet
    [ -e "${wordnet}" ] || wordnet=/usr/share/wordnet # was installed before
    python3 local/synthesise.py "${options[@]}" --wordnet "${wordnet}" \
        --unpacked "${packages}" --audio_dir data/synthetic/audio \
        --output_dir data/synthetic --nj "${nj}"
}

options=(--sentences "${sentences}" --sample_rate "${sample_rate}" --seed "${seed}")
once data/synthetic/wav.scp "${options[@]}" -- speak
