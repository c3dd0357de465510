#!/usr/bin/env bash
# Makes data/ from the AN4 speech in the installed espnet package: train, valid and test
# with segments of 0.7 s, noise.scp and rirs.scp for augmentation, asr_train for the ASR
# model.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

# BEGIN OPTIONS (--help prints what is between these marks)
stage=1        # First stage: 1 unpacks the speech, 2 makes data/ [>=1].
stop_stage=100 # Last stage [>=1].
an4_tar= # downloads.tar.gz of ESPnet's mini_an4 (default: the one here, or in the espnet package).
# END OPTIONS

help_message="Usage: $0 [options]

$(describe_options "$0")"

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "unexpected argument: $1 (see --help)"
. ./path.sh

require_writable downloads "the recipe's folder"
require_writable data "the recipe's folder"

if [ "${stage}" -le 1 ] && [ "${stop_stage}" -ge 1 ]; then
    log "stage 1: Unpack AN4 into downloads/"
    if [ -z "${an4_tar}" ] && [ -e downloads.tar.gz ]; then # in an ESPnet checkout
        an4_tar=downloads.tar.gz
    elif [ -z "${an4_tar}" ]; then
        an4_tar=$(python3 -c '
from importlib.util import find_spec
print(find_spec("egs3").submodule_search_locations[0])' 2> /dev/null || true)
        an4_tar+=/mini_an4/esp2_asr/downloads.tar.gz
    fi
    require_file "${an4_tar}" "it is part of espnet; or give one with --local_data_opts '--an4_tar F'"
    once downloads/an4/README "${an4_tar}" -- \
        tar -xzf "${an4_tar}" -C downloads --strip-components 1
fi

if [ "${stage}" -le 2 ] && [ "${stop_stage}" -ge 2 ]; then
    log "stage 2: Data preparation: data/"
    require_file downloads/an4/README "run stage 1 first"
    once data/rirs.scp downloads/an4/README local/prepare_data.py -- \
        python3 local/prepare_data.py downloads data
fi
