#!/usr/bin/env bash
# Makes the folder of a new recipe.
#
#   egs2/TEMPLATE/sv1/setup.sh egs2/CORPUS/sv1
#
# Links the template's programs and copies what a recipe changes; then write local/data.sh and
# set the names in run.sh. Works in this project's egs2/ and in an ESPnet checkout's.
set -e
set -u
set -o pipefail

fail() {
    echo "setup.sh: error: $*" 1>&2
    exit 1
}

if [ $# -ne 1 ] || [[ $1 == -* ]]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    [ "${1:-}" = --help ] && exit 0
    fail "give the one folder to make"
fi

dir=${1%/}
corpus=$(basename "$(dirname "${dir}")")
[ ! -e "${dir}" ] || fail "${dir} exists; choose another name"
egs=$(dirname "$(dirname "${dir}")")
[ -f "${egs}/TEMPLATE/sv1/sv.sh" ] \
    || fail "${egs}/TEMPLATE/sv1 does not exist; make recipes as egs2/CORPUS/sv1"

mkdir -p "${dir}"
cd "${dir}"
for name in sv.sh path.sh db.sh scripts; do
    ln -s "../../TEMPLATE/sv1/${name}" .
done
if [ -d ../../../tools/kaldi/egs/wsj/s5/utils ]; then # an ESPnet checkout with Kaldi
    ln -s ../../../tools/kaldi/egs/wsj/s5/utils .
else
    ln -s ../../TEMPLATE/sv1/utils .
fi
for name in cmd.sh conf local run.sh; do
    cp -r "../../TEMPLATE/sv1/${name}" .
done

echo "setup.sh: made ${dir} for ${corpus}; next: local/data.sh, conf/*.yaml and the names in run.sh"
