#!/usr/bin/env bash
# Removes what "install" has put into an ESPnet checkout.
#
#   tools/upstream.sh remove CHECKOUT
#
# Data and results of the recipes stay, and are named: delete them yourself. Does nothing
# if nothing is installed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

help_or_need 1 "$@"
require_checkout "$1"
kept=$(remove_links)
[ -z "${kept}" ] || echo "upstream.sh: kept data or results in: ${kept//$'\n'/ }"
echo "upstream.sh: removed from ${checkout}"
