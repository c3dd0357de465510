#!/usr/bin/env bash
# Puts this project into an ESPnet checkout, takes it out again, checks it there by
# ESPnet's own rules, and prepares contributions.
#
#   tools/upstream.sh tree DIR           makes an ESPnet tree from the source distribution
#   tools/upstream.sh install CHECKOUT   links the package, the template and the recipes
#                                        into a checkout (or such a tree)
#   tools/upstream.sh remove CHECKOUT    removes these links
#   tools/upstream.sh check CHECKOUT     runs what ESPnet's continuous integration runs
#   tools/upstream.sh patch CHECKOUT DIR writes a series of patches for ESPnet to DIR
#
# Each has --help.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
verb=${1:-}
case "${verb}" in
    tree | install | remove | check | patch) ;;
    *)
        sed -n '2,/^# Each/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        [ "${verb}" = --help ] && exit 0
        echo "upstream.sh: error: ${verb:-no verb}: give one of those above" 1>&2
        exit 1
        ;;
esac
exec bash "${here}/upstream/${verb}.sh" "${@:2}"
