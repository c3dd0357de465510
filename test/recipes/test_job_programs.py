"""Words of jobs, and options of sv.sh, through an ESPnet tree's scripts, Kaldi's."""

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


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        # each gets as far as what is said to be missing
        (["--spk_config", "conf/a.yaml", "--spk-tag", "a b"], "--sv_exp 'exp/sv_a b'"),
        (["--spk_exp", "exp/a b", "--qmf_func", "true"], "--sv_exp 'exp/a b'"),
        (["--sv_tag", "a", "--spk_tag", "b"], "--sv_tag 'a' and --spk_tag 'b' are one"),
        (["--qmf_func", "false", "--calibrate", "true"], "'true' and --qmf_func 'fal"),
        (["--qmf_func", "perhaps"], "--qmf_func 'perhaps': write true or false"),
        (["--feats_type", "raw", "--lang", "en"], "--lang 'en' of spk.sh: for the"),
    ],
)
def test_options_of_spk_are_understood_with_the_tree_s_parse_options(
    espnet_tree, options, answer
):
    sets = ["--train_set", "train", "--valid_set", "valid", "--test_sets", "test"]
    done = subprocess.run(
        ["./sv.sh", *sets, *options],
        cwd=espnet_tree / "egs2/mini_an4/sv1",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if "error: " in line]
    assert line.startswith("sv.sh: error: ")
    assert answer in line
