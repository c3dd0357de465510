#!/usr/bin/env python3
"""Count which kinds of ASR models ESPnet's recipes publish, by what encodes the audio.

A published model is a link to Zenodo or the Hugging Face Hub in the README.md or
RESULTS.md of a recipe that trains ASR models (asr1, s2t1 and their variants); one that
several recipes link to counts once. Nothing is downloaded: its kind comes from the
recipe's training configuration, by the first rule that finds one.

config  the text around the link names the configuration
name    the model or the experiment is named after a configuration
words   their names say it (wavlm, hubert, whisper, conformer, ...)
recipe  the recipe's train_asr.yaml, or all configurations where they are of one kind

Whether a kind is supported is what espnet2_sv.asr says of the configuration.

    python tools/count_asr_models.py ESPNET/egs2
"""

import argparse
import re
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from espnet2_sv.asr.supported import check_supported
from espnet2_sv.errors import SVError

TASKS = ("asr1", "asr2", "avsr1", "diar_asr1", "enh_asr1", "s2t1", "sot_asr1")
OTHER_INPUT = {  # tasks whose encoder does not read the log-mel features of one wave
    "asr2": "discrete units (`asr2`)",
    "avsr1": "audio and video (`avsr1`)",
    "enh_asr1": "speech enhancement before the ASR model (`enh_asr1`)",
}
# https://zenodo.org/record/4978923/files/asr_train.zip, https://huggingface.co/a/b
LINK = re.compile(
    r"(https?://(?:zenodo\.org/records?/\d+"
    r"|huggingface\.co/(?!datasets/|spaces/|pyannote/)[\w.-]+/[\w.-]*\w))([\w./-]*)"
)
CONFIG = re.compile(r"[\w./+-]*train[\w./+-]*\.ya?ml")  # conf/tuning/train_asr.yaml
OTHER_MODELS = ("segmentation", "AudioCaptioning", "BEATs-ESC", "espnet/xeus")
LINES_BEFORE, LINES_AFTER = 12, 6  # where a configuration is looked for
SELF_SUPERVISED = re.compile("hubert|mms|wav2vec|wavlm|xls-?r|[_-]ssl", re.IGNORECASE)
# of a model of which only its name is known; most have this encoder
UNKNOWN_S3PRL = {"frontend": "s3prl", "encoder": "conformer"}
WORDS = {  # the first that a name contains
    "whisper": {"encoder": "whisper"},
    "streaming": {"encoder": "contextual_block_conformer"},
    "multiconvformer": {"encoder": "multiconv_conformer"},
    "owsm_ctc": {"encoder": "e_branchformer_ctc", "model": "espnet_ctc"},
    "e_?branchformer|_ebf": {"encoder": "e_branchformer"},
    "branchformer": {"encoder": "branchformer"},
    "conformer|cformer": {"encoder": "conformer"},
    "transformer": {"encoder": "transformer"},
}
RULES = ("config", "name", "words", "recipe", "none")


class Model(NamedTuple):
    """A published model: its address, the kind that it is of, and the rule."""

    link: str
    kind: str
    rule: str


def main() -> None:
    """Print a Markdown table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("egs2", type=Path, help="the recipes of an ESPnet source tree")
    options.add_argument(
        "--list", action="store_true", help="print each model, its kind and the rule"
    )
    args = options.parse_args()
    models: dict[str, Model] = {}
    for model in sorted(published(args.egs2), key=lambda m: RULES.index(m.rule)):
        models.setdefault(model.link, model)
    if args.list:
        for model in sorted(models.values(), key=lambda m: m[1:] + m[:1]):
            print(model.kind, model.rule, model.link, sep="\t")
        return
    rules = defaultdict(Counter)
    for model in models.values():
        rules[model.kind][model.rule] += 1
    print(f"| what encodes the audio | models | {' | '.join(RULES)} |")
    print(f"|---|{'---:|' * (len(RULES) + 1)}")
    for kind in sorted(rules, key=lambda k: (-rules[k].total(), k)):
        by_rule = " | ".join(str(rules[kind][rule]) for rule in RULES)
        print(f"| {kind} | {rules[kind].total()} | {by_rule} |")
    print(f"| all | {len(models)} |{' |' * len(RULES)}")


def published(egs2: Path) -> Iterator[Model]:
    """Yield every link to a model; a model may have several."""
    for task in TASKS:
        for recipe in sorted(egs2.glob(f"*/{task}")):
            configs = {p.stem: p for p in sorted(recipe.glob("conf/**/train*.yaml"))}
            for page in sorted([*recipe.glob("README.md"), *recipe.glob("RESULTS.md")]):
                lines = page.read_text(encoding="utf-8").splitlines()
                for at, line in enumerate(lines):
                    for link, rest in LINK.findall(line):
                        if any(word in link for word in OTHER_MODELS):
                            continue
                        if task in OTHER_INPUT:
                            yield Model(link, OTHER_INPUT[task], "config")
                        else:
                            yield classify(link, rest, lines, at, configs)


def classify(
    link: str, rest: str, lines: list[str], at: int, configs: dict[str, Path]
) -> Model:
    """Tell the kind of the model to which a line of a page links.

    Args:
        link: Its address.
        rest: What follows the address: on Zenodo, the name of a file.
        lines: The page.
        at: The number of the line.
        configs: The training configurations of the recipe, by stem.
    """
    heading = next((x for x in lines[at::-1] if x.startswith("#")), "")
    around = [lines[at], *lines[max(0, at - LINES_BEFORE) : at][::-1]]
    around += lines[at + 1 : at + 1 + LINES_AFTER]
    named = [Path(name).stem for line in around for name in CONFIG.findall(line)]
    named = [stem for stem in named if not stem.startswith("train_lm")]
    names = " ".join([link, rest, heading, *named[:1]])
    found = [(stem, "config") for stem in named[:1] if stem in configs]
    for stem in sorted(configs, key=len, reverse=True):
        # train_asr_conformer5 in asr_train_asr_conformer5_raw_eu_bpe150_sp
        if stem != "train_asr" and f"{stem}_" in names:
            found.append((stem, "name"))
    for stem, rule in found:
        conf = read(configs[stem])
        # hubert in the name of a model whose page names the recipe's usual settings
        if conf.get("frontend") or not SELF_SUPERVISED.search(link):
            return Model(link, kind(conf, names), rule)
    if SELF_SUPERVISED.search(names):
        return Model(link, kind(UNKNOWN_S3PRL, names), "words")
    for word, conf in WORDS.items():
        if re.search(word, names, re.IGNORECASE):
            return Model(link, kind(conf, names), "words")
    candidates = [path for stem, path in configs.items() if "train_lm" not in stem]
    if "train_asr" in configs:
        candidates = [configs["train_asr"]]
    kinds = {kind(read(path), names) for path in candidates}
    if len(kinds) == 1:
        return Model(link, kinds.pop(), "recipe")
    return Model(link, "cannot be told", "none")


def read(config: Path) -> dict:
    """Read a training configuration."""
    return yaml.safe_load(config.read_text(encoding="utf-8")) or {}


def kind(conf: dict, names: str) -> str:
    """Say what encodes the audio in a model with this configuration."""
    if "fbank_pitch" in names:
        return "features made outside the model"
    frontend = conf.get("frontend") or "default"
    encoder = conf.get("encoder", "rnn")  # as ESPnet's task
    found = {**conf, "frontend": frontend, "encoder": encoder}
    what = f"`{encoder}`" if frontend == "default" else f"front end `{frontend}`"
    try:
        check_supported(Namespace(**found))
        return f"{what} (supported)"
    except SVError:
        return what if frontend != "default" else f"encoder {what}"


if __name__ == "__main__":
    main()
