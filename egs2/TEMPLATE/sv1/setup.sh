#!/usr/bin/env bash
# Creates the folder of a new recipe.
#
#   egs2/TEMPLATE/sv1/setup.sh egs2/CORPUS/sv1
#
# Links the scripts of the template and copies the files that a recipe changes. Next,
# write local/data.sh and set the names in run.sh. Works in egs2/ of this project and of
# ESPnet.
set -e
set -u
set -o pipefail

fail() {
    echo "setup.sh: error: $*" 1>&2
    exit 1
}

if [ $# -ne 1 ] || [[ $1 == -* ]]; then
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
    [ "${1:-}" = --help ] && exit 0
    fail "give one folder to create"
fi

dir=${1%/}
corpus=$(basename "$(dirname "${dir}")")
[ ! -e "${dir}" ] || fail "${dir} exists; choose another name"
egs=$(dirname "$(dirname "${dir}")")
[ -f "${egs}/TEMPLATE/sv1/sv.sh" ] \
    || fail "${egs}/TEMPLATE/sv1 does not exist; create recipes as egs2/CORPUS/sv1"

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
# -L: in an ESPnet checkout the files of the template may be links, and what a recipe
# changes must not change others
for name in cmd.sh conf local run.sh; do
    cp -rL "../../TEMPLATE/sv1/${name}" .
done
for name in conf/*.yaml; do # as in the template, links into conf/tuning/
    file=$(readlink -f "../../TEMPLATE/sv1/${name}")
    [[ ${file} != */conf/tuning/* ]] || ln -sf "tuning/${file##*/}" "${name}"
done

echo "setup.sh: created ${dir} for ${corpus}; next: edit local/data.sh, conf/*.yaml and run.sh"
