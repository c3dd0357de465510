import dataclasses
import logging
import os
import random

import pytest
import soundfile
from fotaq import prepare
from fotaq.folds import FOLDS, SAME_VOICE
from fotaq.prepare import Plan, prepare_fotaq

from espnet2_sv.data.check_data import check_data_dir
from espnet2_sv.data.kaldi import read_spk2utt, read_two_column
from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(200)

PLAN = Plan(most_minutes=0.4, test_utterances=10, allow_incomplete=True, nj=1)
SPEAKER_SETS = ("train", "valid", "test", "test4")
ASR_SETS = ("asr_train", "asr_dev", "asr_test_seen", "asr_test_unseen")
SETS = [f"fold{n}_{kind}" for n in FOLDS for kind in (*SPEAKER_SETS, *ASR_SETS)]


@pytest.fixture(scope="module")
def made(queen, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "data"
    prepare_fotaq(queen.path, out, PLAN)
    return out


def content(folder):
    """All tables, without the place where they lie."""
    tables = [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".flac"]
    return {
        str(p.relative_to(folder)): p.read_text().replace(str(folder), "DATA")
        for p in tables
    }


def speakers(made, fold, kind):
    """Characters of a set; of a class of two, both."""
    classes = read_spk2utt(made / f"fold{fold}_{kind}" / "spk2utt")
    return {character for name in classes for character in name.split("+")}


@pytest.mark.parametrize("name", SETS)
def test_sets_pass_the_checks(made, name):
    trials = (
        [made / name / "trials"] if name.endswith(("valid", "test", "test4")) else []
    )
    report = check_data_dir(made / name, train=name.endswith("_train"), trials=trials)
    assert list(report.problems()) == []
    assert list(report.warnings()) == []


@pytest.mark.parametrize("fold", FOLDS)
def test_nobody_tested_is_known_to_a_model_of_the_fold(made, fold):
    tested = speakers(made, fold, "test")
    assert tested == speakers(made, fold, "test4") == set(FOLDS[fold].test)
    assert speakers(made, fold, "asr_test_unseen") <= tested
    chosen_on = speakers(made, fold, "valid")
    for kind in ("train", "asr_train", "asr_dev", "asr_test_seen"):
        assert not speakers(made, fold, kind) & (tested | chosen_on), kind
    assert not chosen_on & tested


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("kind", ["valid", "test", "test4"])
def test_trials_never_compare_two_who_sound_alike(made, fold, kind):
    forbidden = {frozenset(pair) for pair in SAME_VOICE}
    for line in (made / f"fold{fold}_{kind}/trials").read_text().splitlines():
        pair = frozenset(name.split("-")[0] for name in line.split()[:2])
        assert pair not in forbidden
        assert (len(pair) == 1) == line.endswith(" target")


@pytest.mark.parametrize("fold", FOLDS)
def test_models_are_enrolled_by_four_utterances_that_are_not_tested(made, fold):
    folder = made / f"fold{fold}_test4"
    members = read_spk2utt(folder / "enroll_spk2utt")
    tested = {line.split()[1] for line in (folder / "trials").read_text().splitlines()}
    characters = read_two_column(folder / "enroll_utt2spk")
    assert members.keys() == characters.keys()
    for model, utts in members.items():
        assert len(utts) == 4
        assert not tested & set(utts)
        assert {utt.split("-")[0] for utt in utts} == {characters[model]}


@pytest.mark.parametrize("fold", FOLDS)
def test_speaker_utterances_are_long_enough_and_nobody_says_too_much(made, fold):
    for kind in SPEAKER_SETS:
        folder = made / f"fold{fold}_{kind}"
        seconds = {
            utt: soundfile.info(path).duration
            for utt, path in read_two_column(folder / "wav.scp").items()
        }
        assert min(seconds.values()) >= PLAN.shortest
        for utts in read_spk2utt(folder / "spk2utt").values():
            if kind == "train":
                assert sum(seconds[utt] for utt in utts) <= 60 * PLAN.most_minutes
            else:
                assert len(utts) <= PLAN.test_utterances


@pytest.mark.parametrize("fold", FOLDS)
def test_no_text_is_learnt_and_tested(made, fold):
    texts = [
        set(read_two_column(made / f"fold{fold}_{k}/text").values()) for k in ASR_SETS
    ]
    for held_out in texts[1:]:
        assert held_out
        assert not held_out & texts[0]
    for kind in ASR_SETS:
        folder = made / f"fold{fold}_{kind}"
        assert list(read_two_column(folder / "text")) == list(
            read_two_column(folder / "wav.scp")
        )


def test_what_is_not_used_is_listed_with_its_reason(made):
    dropped = read_two_column(made / "about/dropped")
    used = {
        utt
        for name in SETS
        if "_asr_" in name
        for utt in read_two_column(made / name / "text")
    }
    assert dropped
    assert not dropped.keys() & used
    assert all(
        reason.startswith("no speech")
        for utt, reason in dropped.items()
        if "DOG" in utt
    )
    characters = read_two_column(made / "about/characters")
    assert len(characters) == 30
    assert characters["JOE"].endswith(" 1")
    assert characters["DOG"].endswith(" 0 -")


def test_a_second_call_and_one_after_a_kill_write_the_same(made, queen, tmp_path):
    out = tmp_path / "data"
    prepare_fotaq(queen.path, out, PLAN)
    assert content(out) == content(made)
    times = [p.stat().st_mtime_ns for p in sorted(out.rglob("*.flac"))]
    os.unlink(out / "fold2_train/wav.scp")
    prepare_fotaq(queen.path, out, PLAN)
    assert content(out) == content(made)
    assert [p.stat().st_mtime_ns for p in sorted(out.rglob("*.flac"))] == times


def test_another_seed_chooses_others_of_the_same_characters(made, queen, tmp_path):
    prepare_fotaq(queen.path, tmp_path / "b", dataclasses.replace(PLAN, seed=1))
    ours, theirs = content(made), content(tmp_path / "b")
    assert ours.keys() == theirs.keys()
    assert ours["fold1_test/trials"] != theirs["fold1_test/trials"]
    for kind in ("train", "valid", "test"):
        assert speakers(made, 1, kind) == speakers(tmp_path / "b", 1, kind)


def test_no_audio_of_another_rate_is_left(queen, tmp_path):
    prepare_fotaq(queen.path, tmp_path / "data", PLAN)
    prepare_fotaq(
        queen.path, tmp_path / "data", dataclasses.replace(PLAN, sample_rate=8000)
    )
    wavs = read_two_column(tmp_path / "data/fold1_train/wav.scp")
    assert any("-x" in utt for utt in wavs)  # joined ones, too
    assert {soundfile.info(path).samplerate for path in wavs.values()} == {8000}


def test_other_counts_stop_unless_allowed(queen, tmp_path, monkeypatch, caplog):
    strict = dataclasses.replace(PLAN, allow_incomplete=False)
    clips = len(queen.seconds)
    with pytest.raises(
        SVError, match=rf"queen.1c: {clips} clips, not 4,548 \(1 more, see above\)"
    ):
        prepare_fotaq(queen.path, tmp_path / "data", strict)
    assert not (tmp_path / "data").exists()
    known = {"characters": 30, "clips": clips, "clips with a text": len(queen.texts)}
    monkeypatch.setattr(prepare, "KNOWN", known)
    caplog.set_level(logging.INFO)
    prepare_fotaq(queen.path, tmp_path / "data", strict)
    assert (
        f"30 characters, {clips:,} clips, {len(queen.texts):,} clips with a text"
        in caplog.text
    )


def test_texts_of_other_clips_stop_unless_allowed(
    queen, own_queen, tmp_path, monkeypatch
):
    mixed = list(queen.texts)
    random.Random(0).shuffle(mixed)
    own_queen.entries |= {
        a: queen.entries[b] for a, b in zip(queen.texts, mixed, strict=True)
    }
    own_queen.write()
    known = dict(
        zip(prepare.KNOWN, (30, len(queen.seconds), len(queen.texts)), strict=True)
    )
    monkeypatch.setattr(prepare, "KNOWN", known)
    strict = dataclasses.replace(PLAN, allow_incomplete=False)
    with pytest.raises(
        SVError, match=r"^texts and durations correlate at -?0\.\d\d, less than 0.7"
    ):
        prepare_fotaq(own_queen.path, tmp_path / "data", strict)
    assert not (tmp_path / "data/about").exists()


def test_an_archive_without_a_fold_s_characters_is_too_little(queen_archive, tmp_path):
    small = queen_archive.Queen(tmp_path / "queen.1c")
    line = [(6, "Hello there, who are you?")]
    small.entries["BOB1.DOG"] = queen_archive.pack_dialogue(5, [], line)
    small.entries["050006P1.SB"] = queen_archive.encode(100, 2.2)
    small.write()
    with pytest.raises(SVError, match="fold1_valid: the archive has too little speech"):
        prepare_fotaq(small.path, tmp_path / "data", PLAN)
