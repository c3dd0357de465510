#!/usr/bin/env bash
# Links this project into an ESPnet checkout, as if it were part of ESPnet.
#
#   tools/upstream.sh install CHECKOUT
#
# Makes espnet2_sv, egs2/TEMPLATE/sv1, egs2/{fotaq,mini_an4,voxceleb}/sv1 and
# test/espnet2_sv: folders of symbolic links to this project, and, where ESPnet has such
# files for all recipes, to the checkout's own (utils, steps, scripts, pyscripts, cmd.sh,
# db.sh, conf/{slurm,queue,pbs}.conf). Nothing of the checkout is changed. Can be called
# again, e.g. after this project was updated; data and results stay.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

help_or_need 1 "$@"
require_checkout "$1"

# files_of FOLDER: prints the files of this project in it, below FOLDER, with a NUL each
files_of() {
    local outside
    if git -C "${project}" rev-parse --git-dir > /dev/null 2>&1; then
        git -C "${project}/$1" ls-files -z --cached --others --exclude-standard
    else
        mapfile -t outside < <(outside_results "${project}/$1")
        find "${project}/$1" ! -type d -not -path '*/__pycache__/*' \
            ${outside[@]+"${outside[@]}"} -printf '%P\0'
    fi
}

# link_all FROM TO: links each file of this project's folder FROM, in folders below TO
link_all() {
    local name
    while IFS= read -r -d '' name; do
        [ -e "${project}/$1/${name}" ] || continue # deleted, but not yet in git
        mkdir -p "$(dirname "${checkout}/$2/${name}")"
        ln -sfn "${project}/$1/${name}" "${checkout}/$2/${name}"
    done < <(files_of "$1")
}

# check_free FOLDER: exits if the folder holds a file or a link of somebody else
check_free() {
    local file
    [ -e "${checkout}/$1" ] || return 0
    file=$(find "${checkout}/$1" -maxdepth 1 -type f \
        \( -name sv.sh -o -name run.sh -o -name conftest.py \) -print -quit)
    [ -z "${file}" ] || fail "${file} is not a link to this project; move it away"
}

if [ -e "${checkout}/espnet2_sv" ] && [ ! -L "${checkout}/espnet2_sv" ]; then
    fail "${checkout}/espnet2_sv is not a link to this project; move it away"
fi
while IFS= read -r folder; do
    check_free "${folder}"
done < <(installed_folders)

remove_links > /dev/null # of files that this project no longer has
ln -s "${project}/espnet2_sv" "${checkout}/espnet2_sv"

# The template: ESPnet's shared files by links inside the tree
template=egs2/TEMPLATE/sv1
link_all "${template}" "${template}"
rm -rf "${checkout:?}/${template}/utils"
for name in "${shared[@]}"; do
    ln -sfn "../asr1/${name}" "${checkout}/${template}/${name}"
done
for name in {slurm,queue,pbs}.conf; do
    ln -sfn "../../asr1/conf/${name}" "${checkout}/${template}/conf/${name}"
done
for path in "${checkout}"/egs2/TEMPLATE/asr1/scripts/*/; do
    name=$(basename "${path}")
    ln -sfn "../../asr1/scripts/${name}" "${checkout}/${template}/scripts/${name}"
done

for recipe in "${recipes[@]}"; do
    folder=egs2/${recipe}/sv1
    link_all "${folder}" "${folder}"
    for name in "${shared[@]}"; do
        ln -sfn "../../TEMPLATE/asr1/${name}" "${checkout}/${folder}/${name}"
    done
    for name in sv.sh path.sh scripts; do
        ln -sfn "../../TEMPLATE/sv1/${name}" "${checkout}/${folder}/${name}"
    done
    for name in {slurm,queue,pbs}.conf; do
        ln -sfn "../../../TEMPLATE/asr1/conf/${name}" "${checkout}/${folder}/conf/${name}"
    done
done
if [ -e "${checkout}/egs2/mini_an4/asr1/downloads.tar.gz" ]; then
    ln -sfn ../asr1/downloads.tar.gz "${checkout}/egs2/mini_an4/sv1/downloads.tar.gz"
fi

link_all test test/espnet2_sv

echo "upstream.sh: installed in ${checkout}; try: cd ${checkout}/egs2/mini_an4/sv1 && ./run.sh"
