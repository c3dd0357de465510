#!/usr/bin/env bash
# Makes data/ from the AN4 speech inside the installed espnet: the sets train, valid and test of
# segments of 0.7 s, noise.scp and rirs.scp for augmentation, asr_train for the ASR model.
set -e
set -u
set -o pipefail

. scripts/stage_functions.sh

an4_tar= # downloads.tar.gz of ESPnet's mini_an4 (default: the installed one)

log "$0 $*"
. utils/parse_options.sh
[ $# -eq 0 ] || die "no positional arguments are understood: $1"
. ./path.sh

if [ -z "${an4_tar}" ]; then
    an4_tar=$(python3 -c '
from importlib.util import find_spec
print(find_spec("egs3").submodule_search_locations[0])' 2> /dev/null || true)
    an4_tar+=/mini_an4/esp2_asr/downloads.tar.gz
fi
require_file "${an4_tar}" "it comes with espnet; or name another with --local_data_opts '--an4_tar F'"
require_writable downloads "the recipe's folder"
require_writable data "the recipe's folder"

once downloads/an4/README "${an4_tar}" -- \
    tar -xzf "${an4_tar}" -C downloads --strip-components 1
once data/rirs.scp downloads/an4/README local/prepare_data.py -- \
    python3 local/prepare_data.py downloads data
