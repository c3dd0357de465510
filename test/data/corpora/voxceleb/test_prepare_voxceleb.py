import dataclasses
import logging

import pytest

from espnet2_sv.data.check_data import check_data_dir
from espnet2_sv.data.corpora.voxceleb import prepare
from espnet2_sv.data.corpora.voxceleb.counts import PublishedCount
from espnet2_sv.data.corpora.voxceleb.prepare import prepare_voxceleb
from espnet2_sv.data.kaldi import read_spk2utt, read_two_column, write_two_column
from espnet2_sv.errors import SVError

SETS = ("voxceleb2_train", "voxceleb2_valid", "voxceleb2_calib", "cohort")
TESTS = ("voxceleb1_o", "voxceleb1_e", "voxceleb1_h")


def prepare_tree(tree, out, plan, **changes):
    plan = dataclasses.replace(plan, **changes)
    return prepare_voxceleb(tree.voxceleb1, tree.voxceleb2, out, plan)


def content(folder):
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_text() for p in files}


@pytest.fixture
def out(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def made(tree, plan, out):
    prepare_tree(tree, out, plan)
    return {name: read_spk2utt(out / name / "spk2utt") for name in (*SETS, *TESTS)}


def test_training_and_held_out_speakers_are_apart_and_all_there(made, out):
    train, valid, calib = (made[name] for name in SETS[:3])
    assert (len(train), len(valid), len(calib)) == (5, 3, 2)
    assert len(train.keys() | valid.keys() | calib.keys()) == 10
    assert {len(utts) for utts in train.values()} == {4}
    assert {len(utts) for utts in valid.values()} == {3}
    assert {len(utts) for utts in calib.values()} == {2}
    for kind, speakers in (("valid", valid), ("calib", calib)):
        listed = (out / f"held_out/{kind}_speakers").read_text().split()
        assert listed == sorted(speakers)


def test_the_cohort_is_of_training_utterances(made):
    assert made["cohort"].keys() == made["voxceleb2_train"].keys()
    for speaker, utts in made["cohort"].items():
        assert len(utts) == 1
        assert set(utts) < set(made["voxceleb2_train"][speaker])


def test_test_sets_hold_the_utterances_of_their_trials(made, tree, out):
    for name, file in zip(
        TESTS,
        ("veri_test2.txt", "list_test_all2.txt", "list_test_hard2.txt"),
        strict=True,
    ):
        trials = (out / name / "trials").read_text().splitlines()
        official = (tree.trial_lists / file).read_text().splitlines()
        assert len(trials) == len(official) == 30
        for ours, theirs in zip(trials, official, strict=True):
            label, a, b = theirs.replace("/", "-").replace(".wav", "").split()
            assert ours == f"{a} {b} {'target' if label == '1' else 'nontarget'}"
        used = {utt for line in trials for utt in line.split()[:2]}
        assert used == {utt for utts in made[name].values() for utt in utts}


@pytest.mark.parametrize("name", [*SETS, *TESTS])
def test_sets_pass_the_checks(made, out, name):
    trials = [out / name / "trials"] if name in TESTS else []
    report = check_data_dir(out / name, train=name == SETS[0], trials=trials)
    assert list(report.problems()) == []


def test_a_second_run_and_archives_write_the_same(
    made, tree, archives, plan, out, tmp_path
):
    before = content(out)
    prepare_tree(tree, out, plan)
    assert content(out) == before
    prepare_tree(archives, tmp_path / "b", plan)
    for name in before:
        ours, theirs = (folder / name for folder in (out, tmp_path / "b"))
        if name.endswith("wav.scp"):
            assert list(read_two_column(ours)) == list(read_two_column(theirs))
        else:
            assert ours.read_text() == theirs.read_text()


def test_lists_of_held_out_speakers_reproduce_a_split(made, tree, plan, out, tmp_path):
    lists = str(out / "held_out")
    prepare_tree(
        tree, tmp_path / "b", plan, held_out=lists, valid_speakers=1, calib_speakers=1
    )
    assert content(tmp_path / "b") == content(out)
    prepare_tree(tree, tmp_path / "c", plan, seed=1)
    assert content(tmp_path / "c/held_out") != content(out / "held_out")


def test_what_is_not_as_published_stops_unless_allowed(tree, plan, out, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(
        SVError, match=r"^VoxCeleb1 dev: 4 of 1,211 speakers, 1,207 are missing"
    ):
        prepare_tree(tree, out, plan, allow_incomplete=False)
    assert not out.exists()
    for line in (
        "VoxCeleb2 dev: 10 speakers, 40 utterances, not as published",
        "VoxCeleb2 dev: 40 of 1,092,009 utterances, 1,091,969 are missing",
        "veri_test2.txt: 30 lines of 37,611 published",
    ):
        assert line in caplog.text


def test_counts_as_published_are_said_so(tree, plan, out, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    split = prepare.VOXCELEB2_DEV._replace(published=PublishedCount(10, 40))
    monkeypatch.setattr(prepare, "VOXCELEB2_DEV", split)
    monkeypatch.setitem(prepare.TRAIN_ON, "voxceleb2", split)
    prepare_tree(tree, out, plan, allow_incomplete=False, test_lists=[])
    assert "VoxCeleb2 dev: 10 speakers, 40 utterances, as published" in caplog.text
    assert sorted(p.name for p in out.iterdir()) == sorted([*SETS, "held_out"])


def test_utterances_missing_from_a_list_always_stop(own_tree, plan, out):
    first = (own_tree.trial_lists / "veri_test2.txt").read_text().split()[1]
    (own_tree.voxceleb1 / "test/wav" / first).unlink()
    name = first.replace("/", "-").removesuffix(".wav")
    with pytest.raises(
        SVError, match=rf"veri_test2\.txt: 1 utterances have no recording: {name};"
    ):
        prepare_tree(own_tree, out, plan)
    assert not out.exists()


def test_training_on_voxceleb1_refuses_e_and_h_and_allows_o(tree, plan, out):
    for kind in "eh":
        with pytest.raises(
            SVError,
            match=(
                rf"^voxceleb1_{kind}: 4 of its 8 speakers are also in VoxCeleb1 dev:"
                r" id1"
            ),
        ):
            prepare_tree(tree, out, plan, train_on="voxceleb1", test_lists=["o", kind])
    few = {"valid_speakers": 1, "calib_speakers": 1}
    with pytest.raises(SVError, match="leave a set with fewer than 2"):
        prepare_tree(tree, out, plan, train_on="voxceleb1", test_lists=["o"], **few)


def test_training_on_voxceleb1_needs_no_voxceleb2(voxceleb_tree, plan, out, tmp_path):
    tree = voxceleb_tree.make_tree(
        tmp_path / "v1",
        0,
        dev_speakers=8,
        test_speakers=3,
        seconds=(0.2, 0.3),
        trials=10,
    )
    prepare_voxceleb(
        tree.voxceleb1,
        tmp_path / "none",
        out,
        dataclasses.replace(
            plan,
            trial_lists=str(tree.trial_lists),
            train_on="voxceleb1",
            test_lists=["o"],
        ),
    )
    train = read_spk2utt(out / "voxceleb1_train/spk2utt")
    assert len(train) == 3
    assert not train.keys() & read_spk2utt(out / "voxceleb1_o/spk2utt").keys()


def test_further_speakers_are_trained_on_and_not_in_the_cohort(
    made, tree, plan, out, tmp_path
):
    write_two_column(tmp_path / "k/wav.scp", {"zed-1": "/z/1.wav"})
    write_two_column(tmp_path / "k/utt2spk", {"zed-1": "zed"})
    prepare_tree(tree, tmp_path / "b", plan, extra=str(tmp_path / "k"))
    assert read_spk2utt(tmp_path / "b/voxceleb2_train/spk2utt") == made[
        "voxceleb2_train"
    ] | {"zed": ["zed-1"]}
    for name in ("cohort", "voxceleb2_valid", "voxceleb1_o"):
        assert content(tmp_path / "b" / name) == content(out / name)


def test_further_speakers_that_are_held_out_or_tested_are_refused(
    made, tree, plan, out, tmp_path
):
    for name, message in (
        (
            next(iter(made["voxceleb2_valid"])),
            "speakers have the same names as VoxCeleb's",
        ),
        (
            next(iter(made["voxceleb1_o"])),
            "voxceleb1_o: 1 of its 4 speakers are also in the training",
        ),
    ):
        write_two_column(tmp_path / "k/wav.scp", {f"{name}-x": "/z/1.wav"})
        write_two_column(tmp_path / "k/utt2spk", {f"{name}-x": name})
        with pytest.raises(SVError, match=message):
            prepare_tree(tree, out, plan, extra=str(tmp_path / "k"))


def test_listed_utterances_are_left_out(made, tree, plan, tmp_path):
    speaker, utts = next(iter(made["voxceleb2_train"].items()))
    (tmp_path / "bad").write_text(f"{utts[0]} is damaged\n{utts[2]}\n\n")
    prepare_tree(tree, tmp_path / "b", plan, exclude=str(tmp_path / "bad"))
    train = read_spk2utt(tmp_path / "b/voxceleb2_train/spk2utt")
    assert train == made["voxceleb2_train"] | {speaker: [utts[1], utts[3]]}
    (tmp_path / "bad").write_text("nobody-1\n")
    with pytest.raises(SVError, match="bad: 1 utterances are unknown: nobody-1"):
        prepare_tree(tree, tmp_path / "b", plan, exclude=str(tmp_path / "bad"))


def test_voxceleb12_devs_is_both_corpora_without_the_held_out_speakers(
    made, tree, plan, out, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    prepare_tree(tree, tmp_path / "b", plan, voxceleb12_devs=True)
    both = read_spk2utt(tmp_path / "b/voxceleb12_devs/spk2utt")
    assert len(both) == 5 + 4
    assert made["voxceleb2_train"].items() <= both.items()
    for name in ("voxceleb2_valid", "voxceleb2_calib", "voxceleb1_o"):
        assert not both.keys() & made[name].keys()
    others = content(tmp_path / "b")
    assert {k: v for k, v in others.items() if "voxceleb12" not in k} == content(out)
    report = check_data_dir(tmp_path / "b/voxceleb12_devs", train=True)
    assert list(report.problems()) == []
    for line in (
        "VoxCeleb1+2 dev: 14 speakers, 56 utterances, not as published",
        "voxceleb12_devs: 9 speakers, 36 utterances, without 5 held-out speakers",
        "voxceleb1_e: do not test a system on it that was trained on voxceleb12_devs",
        "voxceleb1_h: do not",
    ):
        assert line in caplog.text
    assert "voxceleb1_o: do not" not in caplog.text


def test_voxceleb12_devs_has_the_published_counts(tree, plan, out, monkeypatch, caplog):
    assert prepare.VOXCELEB12_DEV_COUNT == (7205, 1_240_651)
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(prepare, "VOXCELEB12_DEV_COUNT", PublishedCount(14, 56))
    prepare_tree(tree, out, plan, voxceleb12_devs=True)
    assert "VoxCeleb1+2 dev: 14 speakers, 56 utterances, as published" in caplog.text


def test_voxceleb12_devs_obeys_exclusions_and_needs_voxceleb2(
    made, tree, plan, out, tmp_path
):
    dev = {u for utts in made["voxceleb1_e"].values() for u in utts}
    dev -= {u for utts in made["voxceleb1_o"].values() for u in utts}
    (tmp_path / "bad").write_text(f"{min(dev)}\n")
    plan = dataclasses.replace(plan, exclude=str(tmp_path / "bad"), test_lists=["o"])
    prepare_tree(tree, tmp_path / "b", plan, voxceleb12_devs=True)
    utts = read_two_column(tmp_path / "b/voxceleb12_devs/utt2spk")
    assert len(utts) == 35
    assert min(dev) not in utts
    with pytest.raises(SVError, match="but train_on is voxceleb1; leave one"):
        prepare_tree(tree, out, plan, voxceleb12_devs=True, train_on="voxceleb1")


def test_an_unknown_corpus_is_refused(tree, plan, out):
    with pytest.raises(
        SVError, match="train_on voxceleb3: choose from voxceleb2 voxceleb1"
    ):
        prepare_tree(tree, out, plan, train_on="voxceleb3")
