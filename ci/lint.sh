#!/usr/bin/env bash
# Python: ruff, black, isort, pycodestyle and mypy; shell: shellcheck; Perl: perl -c.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/activate_python.sh

ours() { # finds files by name, except those created by recipes and set-up
    find . \( -path './.git' -o -path './tools/venv*' -o -path './egs2/*/*/downloads' \
        -o -path './egs2/*/*/data' -o -path './egs2/*/*/dump' -o -path './egs2/*/*/exp' \) \
        -prune -o -type f \( "$@" \) -print0
}

# black, isort and pycodestyle: as ESPnet's CI, with the settings of its setup.cfg
ignored=H102,H103,W503,H238,E203,H301,H306,E231

ruff_checks() { ruff format --check . && ruff check .; }
types() { mypy; }
black_style() { ours -name '*.py' | xargs -0 black --check --quiet; }
import_order() { ours -name '*.py' | xargs -0 isort --check --quiet; }
espnet_style() {
    ours -name '*.py' | xargs -0 pycodestyle --max-line-length 88 --ignore "${ignored}"
}
shell() {
    ours -name '*.sh' -o -path './.ci/run' \
        | xargs -0 shellcheck -x -P SCRIPTDIR -P SCRIPTDIR/..
}
shell_tests() { ours -name '*.bats' | xargs -0 shellcheck -x; }
perl_syntax() {
    ours -name '*.pl' | xargs -0 -n 1 perl -c 2>&1 \
        | { grep -v 'syntax OK$' && exit 1 || true; }
}

# All at once: most use one core, and the slowest takes half of the time of all. What
# each prints comes in one piece.
checks=(types black_style shell espnet_style shell_tests import_order ruff_checks perl_syntax)
logs=$(mktemp -d)
trap 'rm -rf "${logs}"' EXIT
for name in "${checks[@]}"; do
    "${name}" > "${logs}/${name}" 2>&1 &
    started[$!]=${name}
done
failed=()
for id in "${!started[@]}"; do
    wait "${id}" || failed+=("${started[id]}")
    cat "${logs}/${started[id]}"
done
[ "${#failed[@]}" -eq 0 ] || {
    echo "ci/lint.sh: failed: ${failed[*]}" 1>&2
    exit 1
}
