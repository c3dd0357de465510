"""Write VoxCeleb's data directories: training, validation, calibration, tests."""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

from espnet2_sv.data.corpora.corpus import (
    Corpus,
    limit_utterances,
    name_some,
    require_complete,
)
from espnet2_sv.data.corpora.data_dirs import write_names, write_set
from espnet2_sv.data.corpora.voxceleb.counts import (
    VOXCELEB12_DEV_COUNT,
    Count,
    count_split,
)
from espnet2_sv.data.corpora.voxceleb.official_trials import TestSet, read_test_sets
from espnet2_sv.data.corpora.voxceleb.plan import TRAIN_ON, Plan
from espnet2_sv.data.corpora.voxceleb.splits import (
    VOXCELEB1_DEV,
    VOXCELEB1_TEST,
    VOXCELEB2_DEV,
    Split,
    find_tree,
    listed_speakers,
    scan_split,
)
from espnet2_sv.data.corpora.voxceleb.training_speakers import (
    add_extra,
    hold_out_speakers,
    read_extra,
)
from espnet2_sv.errors import SVError
from espnet2_sv.textfile import read_text


def prepare_voxceleb(
    voxceleb1: str | os.PathLike,
    voxceleb2: str | os.PathLike,
    output_dir: str | os.PathLike,
    plan: Plan,
) -> list[Count]:
    """Write all sets; held-out sets do not have trials yet.

    The sets are ``X_train``, ``X_valid`` and ``X_calib`` of the training corpus X,
    ``cohort``, ``voxceleb1_o`` and so on, if wanted ``voxceleb12_devs``, and the lists
    ``held_out/valid_speakers`` and ``held_out/calib_speakers``. The output is
    determined by plan and files.

    Args:
        voxceleb1: Folder of VoxCeleb1, or of its archives.
        voxceleb2: Folder of VoxCeleb2, or of its archives; read only if needed.
        output_dir: Output folder.
        plan: Options.

    Returns:
        Count of each split.

    Raises:
        SVError: Data are missing or, unless that is allowed, differ from what was
            published; or training and test speakers overlap.
    """
    if plan.train_on not in TRAIN_ON:
        raise SVError(f"train_on {plan.train_on}: choose from {' '.join(TRAIN_ON)}")
    if plan.voxceleb12_devs and plan.train_on != "voxceleb2":
        raise SVError(
            f"voxceleb12_devs extends the training set of voxceleb2, but train_on is"
            f" {plan.train_on}; leave one of them out"
        )
    tests = read_test_sets(plan)
    source = TRAIN_ON[plan.train_on]
    for test in tests:  # checked before a large archive is unpacked
        test.require_apart(listed_speakers(source, voxceleb2), source.title)
    roots = {
        VOXCELEB1_DEV: voxceleb1,
        VOXCELEB1_TEST: voxceleb1,
        VOXCELEB2_DEV: voxceleb2,
    }
    needed = {source, *(split for test in tests for split in test.splits)}
    if plan.voxceleb12_devs:
        needed.add(VOXCELEB1_DEV)
    found = {
        split: _list_recordings(split, roots[split], plan)
        for split in roots
        if split in needed
    }
    counts = [
        count_split(
            split.title, split.published, corpus, listed_speakers(split, roots[split])
        )
        for split, corpus in found.items()
    ]
    for count in counts:
        logging.info(str(count))
    differences = [d for count in counts for d in count.differences]
    if plan.voxceleb12_devs:  # whose differences are those of its parts
        both = found[VOXCELEB1_DEV] | found[VOXCELEB2_DEV]
        count = count_split("VoxCeleb1+2 dev", VOXCELEB12_DEV_COUNT, both, ())
        logging.info(str(count))
        counts.append(count)
    differences += [d for test in tests for d in test.differences]
    require_complete(differences, plan.allow_incomplete)

    test_corpora = {test.name: _recordings_of(test, found) for test in tests}
    excluded = _read_exclusions(plan.exclude)
    corpus = _without(found[source], excluded)
    held_out = hold_out_speakers(corpus, plan)
    inner = {
        s: u for s, u in corpus.items() if u and s not in set(chain(*held_out.values()))
    }
    train = inner
    if plan.extra:
        extra = _without(read_extra(plan.extra, plan.extra_prefix, plan.nj), excluded)
        add_extra(corpus, extra, plan.extra)  # held-out speakers must not return
        train = add_extra(inner, extra, plan.extra)
    if plan.voxceleb12_devs:
        dev = {s: u for s, u in _without(found[VOXCELEB1_DEV], excluded).items() if u}
        add_extra(corpus, dev, VOXCELEB1_DEV.title)  # nor here
        both = add_extra(train, dev, VOXCELEB1_DEV.title)
        _check_voxceleb12(both, tests, held_out)
    if excluded:
        raise SVError(
            f"{plan.exclude}: {len(excluded):,} utterances are unknown:"
            f" {name_some(excluded)}; correct the list"
        )
    for test in tests:
        test.require_apart(train, "the training set")

    output_dir = Path(output_dir)
    for kind, limit in (
        ("valid", plan.valid_utterances),
        ("calib", plan.calib_utterances),
    ):
        speakers = held_out[kind]
        chosen = limit_utterances({s: corpus[s] for s in speakers}, limit, plan.seed)
        write_names(output_dir / "held_out" / f"{kind}_speakers", speakers)
        write_set(output_dir / f"{plan.train_on}_{kind}", chosen)
    write_set(
        output_dir / "cohort",
        limit_utterances(inner, plan.cohort_utterances, plan.seed),
    )
    for test in tests:
        write_set(output_dir / test.name, test_corpora[test.name], test.trials)
    if plan.voxceleb12_devs:
        write_set(output_dir / "voxceleb12_devs", both)
    write_set(output_dir / f"{plan.train_on}_train", train)
    return counts


def _check_voxceleb12(
    train: Corpus, tests: Sequence[TestSet], held_out: Mapping[str, Collection[str]]
) -> None:
    """Log the size of voxceleb12_devs, and for which of the tests it is unfit."""
    logging.info(
        f"voxceleb12_devs: {len(train):,} speakers,"
        f" {sum(map(len, train.values())):,} utterances, without"
        f" {sum(map(len, held_out.values())):,} held-out speakers"
    )
    for test in tests:
        if VOXCELEB1_DEV in test.splits:
            logging.info(
                f"{test.name}: do not test a system on it that was trained on"
                " voxceleb12_devs, which has its speakers; use voxceleb1_o"
            )
        else:
            test.require_apart(train, "voxceleb12_devs")


def _list_recordings(split: Split, root: str | os.PathLike, plan: Plan) -> Corpus:
    return scan_split(split, find_tree(split, root, plan.unpack_dir), plan.nj)


def _recordings_of(test: TestSet, found: Mapping[Split, Corpus]) -> Corpus:
    """Return the recordings of a test set's trials; SVError if one is missing."""
    left = {utt for trial in test.trials for utt in trial[:2]}
    chosen: Corpus = {}
    for split in test.splits:
        for speaker, utterances in found[split].items():
            if kept := [(utt, audio) for utt, audio in utterances if utt in left]:
                chosen[speaker] = kept
                left.difference_update(utt for utt, _ in kept)
    if left:
        raise SVError(
            f"{test.path}: {len(left):,} utterances have no recording:"
            f" {name_some(left)}; add them, results on a part of the list are not"
            " comparable"
        )
    return chosen


def _read_exclusions(path: str) -> set[str]:
    if not path:
        return set()
    try:
        lines = read_text(path).split("\n")
    except SVError as e:
        raise SVError(f"{e}; correct --exclude") from e
    return {line.split()[0] for line in lines if line.strip()}


def _without(corpus: Corpus, excluded: set[str]) -> Corpus:
    """Leave out utterances, and remove those found from ``excluded``."""
    if not excluded:
        return corpus
    kept = {s: [x for x in utts if x[0] not in excluded] for s, utts in corpus.items()}
    excluded.difference_update([utt for utts in corpus.values() for utt, _ in utts])
    return kept
