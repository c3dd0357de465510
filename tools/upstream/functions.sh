#!/usr/bin/env bash
# Functions of the scripts in this folder. Source this file.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
oldest=202611                       # the oldest ESPnet release that the plugin works with
recipes=(fotaq mini_an4 voxceleb)   # egs2/NAME/sv1
# What the tree has for all recipes; sv1 has its own scripts beside ESPnet's
shared=(cmd.sh db.sh utils steps pyscripts)
generated=(data dump exp downloads) # what recipes make

fail() {
    echo "upstream.sh: error: $*" 1>&2
    exit 1
}

# help_or_need COUNT ARGUMENT...: prints the script's description for --help; exits
# unless COUNT arguments are given
help_or_need() {
    local count=$1
    shift
    if [ "${1:-}" = --help ] || [ $# -ne "${count}" ] || [[ $1 == -* ]]; then
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"
        [ "${1:-}" = --help ] && exit 0
        fail "give ${count} argument(s) as above"
    fi
}

# require_checkout DIR: sets checkout to its path; exits if DIR is not an ESPnet tree, or
# is too old
require_checkout() {
    local version
    [ -d "$1" ] || fail "$1 is not a folder"
    checkout=$(cd "$1" && pwd -P)
    [ -d "${checkout}/espnet2" ] && [ -d "${checkout}/egs2/TEMPLATE/asr1" ] \
        || fail "$1 is not an ESPnet checkout: it has no espnet2/ or no egs2/TEMPLATE/asr1/"
    version=$(cat "${checkout}/version.txt" "${checkout}/espnet/version.txt" 2> /dev/null \
        | head -n 1 || true)
    [[ ${version} =~ ^[0-9]{6} ]] || fail "${checkout}/version.txt does not hold a release"
    [ "${BASH_REMATCH[0]}" -ge "${oldest}" ] \
        || fail "$1 is ESPnet ${version}; ${oldest} or later is needed: git checkout a later" \
            "release"
    [ "${checkout}" != "${project}" ] || fail "$1 is this project; give an ESPnet checkout"
}

# installed_folders: prints the folders in the checkout that hold nothing but this project
installed_folders() {
    local name
    echo egs2/TEMPLATE/sv1
    for name in "${recipes[@]}"; do
        echo "egs2/${name}/sv1"
    done
    echo test/espnet2_sv
}

# is_ours FOLDER NAME: whether the link NAME in this folder of the checkout was made by
# install, perhaps from another place of this project
is_ours() {
    local target base=${2##*/}
    target=$(readlink "${checkout}/$1/$2")
    case "${target}" in
        */"${1/#test\/espnet2_sv/test}/$2") ;;
        "../asr1/${base}") [[ " ${shared[*]} downloads.tar.gz " == *" ${base} "* ]] ;;
        ../../asr1/conf/"${base}" | ../../asr1/scripts/"${base}") ;;
        ../../TEMPLATE/[as]*1/"${base}" | ../../../TEMPLATE/asr1/conf/"${base}") ;;
        *) return 1 ;;
    esac
}

# outside_results FOLDER: options of find for what is not in a recipe's data and results
outside_results() {
    local name
    for name in "${generated[@]}"; do
        [[ $1 != */egs2/* ]] || printf '%s\n' -not -path "$1/${name}/*"
    done
}

# remove_links: removes from the checkout what install has linked, and compiled Python
# files; prints the folders that hold something else, such as results
remove_links() {
    local folder name outside
    if [ -L "${checkout}/espnet2_sv" ]; then
        rm "${checkout}/espnet2_sv"
    fi
    while IFS= read -r folder; do
        [ -d "${checkout}/${folder}" ] || continue
        mapfile -t outside < <(outside_results "${checkout}/${folder}")
        while IFS= read -r -d '' name; do
            ! is_ours "${folder}" "${name}" || rm "${checkout}/${folder}/${name}"
        done < <(find "${checkout}/${folder}" -type l ${outside[@]+"${outside[@]}"} \
            -printf '%P\0')
        find "${checkout}/${folder}" -type d -name __pycache__ -prune -exec rm -r {} +
        find "${checkout}/${folder}" -depth -type d -empty -delete
        if [ -e "${checkout}/${folder}" ]; then
            echo "${checkout}/${folder}"
        elif [[ ${folder} == egs2/* ]]; then # egs2/fotaq is in no ESPnet release
            rmdir "$(dirname "${checkout}/${folder}")" 2> /dev/null || true
        fi
    done < <(installed_folders)
}
