#!/usr/bin/env bash
# Creates the folder of a new recipe.
#
#   egs2/TEMPLATE/sv1/setup.sh egs2/CORPUS/sv1
#
# Links the scripts of the template and copies the files that a recipe changes. With
# recordings in folders FOLDER/SPEAKER/FILE, CORPUS=FOLDER ./run.sh then works as it is;
# for other data, change local/data.sh. Works in egs2/ of this project and of ESPnet.
# Can be called again: adds what is missing, and changes nothing that is there.
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
egs=$(dirname "$(dirname "${dir}")")
[ -f "${egs}/TEMPLATE/sv1/sv.sh" ] \
    || fail "${egs}/TEMPLATE/sv1 does not exist; create recipes as egs2/CORPUS/sv1"
if [ -e "${dir}" ] && [ ! -e "${dir}/sv.sh" ] && [ -n "$(ls -A "${dir}")" ]; then
    fail "${dir} exists and is not a recipe of this template; choose another name"
fi

mkdir -p "${dir}"
cd "${dir}"
template=../../TEMPLATE/sv1
added=

# link NAME TARGET: unless the recipe has its own; a link that leads nowhere is renewed
link() {
    if [ ! -e "$1" ]; then
        ln -sfn "$2" "$1"
        added+=" $1"
    fi
}

# copy NAME: a file or folder, whole or not at all
copy() {
    local name file
    [ ! -e "$1" ] || return 0
    rm -rf "$1.part"
    # -L: in an ESPnet checkout the files of the template may be links, and what a recipe
    # changes must not change others
    cp -rL "${template}/$1" "$1.part"
    for name in "$1.part"/*.yaml; do # as in the template, links into conf/tuning/
        file=$(readlink -f "${template}/$1/${name##*/}" || true)
        [[ ${file} != */conf/tuning/* ]] || ln -sf "tuning/${file##*/}" "${name}"
    done
    mv "$1.part" "$1"
    added+=" $1"
}

for name in sv.sh path.sh db.sh scripts; do
    link "${name}" "${template}/${name}"
done
if [ -d ../../../tools/kaldi/egs/wsj/s5/utils ]; then # an ESPnet checkout with Kaldi
    link utils ../../../tools/kaldi/egs/wsj/s5/utils
else
    link utils "${template}/utils"
fi
for name in steps pyscripts; do # ESPnet's, in its checkouts
    [ ! -e "${template}/${name}" ] || link "${name}" "${template}/${name}"
done
for name in cmd.sh conf local run.sh; do
    copy "${name}"
done

if [ -z "${added}" ]; then
    echo "setup.sh: ${dir} is complete; nothing changed"
elif [[ ${added} == " sv.sh "* ]]; then
    echo "setup.sh: created ${dir} for ${corpus}; next, in it: CORPUS=FOLDER" \
        "./run.sh ... with FOLDER/SPEAKER/FILE, or change local/data.sh first"
else
    echo "setup.sh: added to ${dir}:${added}"
fi
