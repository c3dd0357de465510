#!/usr/bin/env bash
# Writes a series of patches for ESPnet.
#
#   tools/upstream.sh patch CHECKOUT DIR
#
# DIR/0001-*.patch, ... apply in order with "git am" to the release that CHECKOUT is of.
# Nothing in CHECKOUT is changed. Each has at most 30 files and 1,500 lines, and imports
# only what is there before it. The first two are for ESPnet's own packages and need
# nothing of this project; the others are this project in the order of its imports
# (tools/upstream/patches.yaml). A series of an earlier run in DIR is replaced.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

help_or_need 2 "$@"
require_checkout "$1"
. "${project}/tools/activate_python.sh"

work=$(mktemp -d)
trap 'rm -rf "${work}"' EXIT
# What install needs of a checkout
mkdir -p "${work}/tree"/{espnet2,egs2/TEMPLATE}
cp "${checkout}/version.txt" "${work}/tree"
cp -a "${checkout}/egs2/TEMPLATE/asr1" "${work}/tree/egs2/TEMPLATE"
bash "${project}/tools/upstream/install.sh" "${work}/tree" > /dev/null
python3 -P "${project}/tools/upstream/patch.py" "${work}/tree" "${checkout}" "$2"
