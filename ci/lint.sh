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

ruff format --check .
ruff check .
mypy
# as ESPnet's CI, with the settings of its setup.cfg
ours -name '*.py' | xargs -0 black --check --quiet
ours -name '*.py' | xargs -0 isort --check --quiet
ours -name '*.py' | xargs -0 pycodestyle --max-line-length 88 \
    --ignore H102,H103,W503,H238,E203,H301,H306,E231
ours -name '*.sh' -o -path './.ci/run' | xargs -0 shellcheck -x -P SCRIPTDIR -P SCRIPTDIR/..
ours -name '*.bats' | xargs -0 shellcheck -x
ours -name '*.pl' | xargs -0 -n 1 perl -c 2>&1 | { grep -v 'syntax OK$' && exit 1 || true; }
