"""Words of jobs through the job programs of an ESPnet tree, which are Kaldi's."""

import os
import random
import subprocess

import pytest

pytestmark = [pytest.mark.recipe, pytest.mark.timeout(600)]

# Stands for sbatch and qsub: runs the script, once per task of an array, and answers as
# they do
SUBMIT = r"""#!/usr/bin/env bash
for script; do :; done # the last argument
first=1 last=1
if [[ "$*" =~ (--array|-t|-J)[\ =]*([0-9]+)-([0-9]+) ]]; then
    first=${BASH_REMATCH[2]} last=${BASH_REMATCH[3]}
fi
for ((task = first; task <= last; task++)); do
    SLURM_ARRAY_TASK_ID=${task} SGE_TASK_ID=${task} PBS_ARRAY_INDEX=${task} \
        bash "${script}" > /dev/null 2>&1 || true
done
echo ANSWER
"""
ANSWERS = {
    "run.pl": "",
    "queue.pl": "'Your job 7 (\"job\") has been submitted'",
    "slurm.pl": "Submitted batch job 7",
    "pbs.pl": "7.cluster.pbsserver",
}
STORE = """import os, sys
with open(sys.argv[1], "wb") as file:
    file.write(b"\\0".join(map(os.fsencode, sys.argv[2:])))
"""
RUN = """set -eu
. scripts/stage_functions.sh
export LC_ALL=C
program=$1
shift
run_job "${program} --mem 1G" logs/one.log "$@"
"""
ALPHABET = "a1é \t\n\v\f\r'\"`$\\|&;<>(){}[]*?~!#%@=-^,"


@pytest.mark.parametrize("program", ANSWERS)
def test_any_word_arrives_as_it_is(espnet_tree, program, tmp_path):
    recipe = espnet_tree / "egs2/mini_an4/sv1"
    commands = tmp_path / "commands"
    commands.mkdir()
    for name in ("sbatch", "qsub"):
        (commands / name).write_text(SUBMIT.replace("ANSWER", ANSWERS[program]))
        (commands / name).chmod(0o755)
    choose = random.Random(program)
    words = [
        "<blank>:0",
        "<sos/eos>:-1",
        "$HOME",
        "a|b",
        "",
        "`touch x`",
        "{1..3}",
        "\\",
    ]
    words += [
        "".join(choose.choices(ALPHABET, k=choose.randint(1, 6))) for _ in range(99)
    ]
    utils = espnet_tree / "egs2/TEMPLATE/asr1/utils"
    env = os.environ | {"PATH": f"{commands}:{utils}:{os.environ['PATH']}"}
    stored = tmp_path / "words"
    script = tmp_path / "store.py"
    script.write_text(STORE)
    done = subprocess.run(
        ["bash", "-c", RUN, "bash", program, "python3", script, stored, *words],
        cwd=recipe,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert stored.read_bytes().split(b"\0") == [os.fsencode(word) for word in words]
    assert not (recipe / "x").exists()
