#!/usr/bin/env bash
# Makes a whole ESPnet source tree, as a git checkout has it, from the source
# distribution of the release that is installed in the present Python environment.
#
#   tools/upstream.sh tree DIR
#
# For trying the plugin in ESPnet without a checkout, and for tests. Downloads 36 MB by
# pip, or takes the archive in ESPNET_SDIST. DIR must not exist, or have been made by this
# command, which then does nothing. Adds what the archive lacks: the folder links of
# recipes, and tools/activate_python.sh, which selects the present environment.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

help_or_need 1 "$@"
dir=$1
. "${project}/tools/activate_python.sh"
python=$(python3 -P -c 'import sys; print(sys.prefix)')/bin
version=$(python3 -P -c 'from importlib.metadata import version
print(version("espnet"))') || fail "espnet is not installed in the environment of ${python}"

mark=.made_by_upstream_sh
if [ -e "${dir}" ]; then
    [ "$(cat "${dir}/${mark}" 2> /dev/null)" = "${version} ${python}" ] \
        || fail "${dir} exists and is not a tree of ESPnet ${version} for ${python}; delete it" \
            "or give another folder"
    echo "upstream.sh: ${dir} is up to date"
    exit 0
fi

mkdir -p "$(dirname "${dir}")"
work=$(mktemp -d "$(dirname "${dir}")/.$(basename "${dir}").XXXXXX")
trap 'rm -rf "${work}"' EXIT
archive=${ESPNET_SDIST:-}
if [ -z "${archive}" ]; then
    # PLAIN_PYTHON: pip builds in an environment of its own, without what is preloaded
    if ! PLAIN_PYTHON=1 python3 -m pip download --disable-pip-version-check --retries 1 \
        --no-deps --no-binary espnet --dest "${work}" "espnet==${version}" \
        > "${work}/pip.log" 2>&1; then
        reason=$(grep -iE '^ *error|×' "${work}/pip.log" | tail -n 1)
        if grep -qE 'No matching distribution|Max retries|timed out' "${work}/pip.log"; then
            fail "the source of espnet ${version} cannot be downloaded: ${reason}"
        fi
        fail "pip cannot prepare the source of espnet ${version}: ${reason}"
    fi
    archive=$(find "${work}" -name 'espnet-*.tar.gz')
fi
mkdir "${work}/tree"
tar -xzf "${archive}" -C "${work}/tree" --strip-components 1 \
    || fail "${archive} cannot be unpacked; delete it and try again"
tree=${work}/tree
[ "$(cat "${tree}/version.txt" 2> /dev/null)" = "${version}" ] \
    || fail "${archive} is not the source distribution of espnet ${version}"

# link_missing FOLDER NAME TARGET: adds FOLDER/NAME unless it or the target is missing
link_missing() {
    if [ ! -e "$1/$2" ] && [ -e "$1/$3" ]; then
        ln -s "$3" "$1/$2"
    fi
}

# Archives made by setuptools hold no links to folders
for folder in "${tree}"/egs2/*/*/; do
    folder=${folder%/}
    task=$(basename "${folder}")
    [ "${folder}" != "${tree}/egs2/TEMPLATE/asr1" ] || continue
    for name in utils steps scripts pyscripts; do
        link_missing "${folder}" "${name}" "../../TEMPLATE/${task}/${name}"
        link_missing "${folder}" "${name}" "../../TEMPLATE/asr1/${name}"
    done
done

cat > "${tree}/tools/activate_python.sh" << END
# Selects the Python environment for which this tree was made. As in an editable
# installation, the modules of this tree come first.
PATH=$(printf %q "${python}"):\${PATH}
PYTHONPATH=\$(cd "\$(dirname "\${BASH_SOURCE[0]}")/.." && pwd)\${PYTHONPATH:+:\${PYTHONPATH}}
export PATH PYTHONPATH
END
echo "${version} ${python}" > "${tree}/${mark}"
mv -T "${tree}" "${dir}"
echo "upstream.sh: made ${dir} of ESPnet ${version}"
