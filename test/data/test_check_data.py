import pytest

from espnet2_sv.data.check_data import check_data_dir, check_trials
from espnet2_sv.data.formatting import format_data_dir
from espnet2_sv.data.kaldi import (
    read_two_column,
    write_spk2utt,
    write_two_column,
)
from espnet2_sv.data.validation_report import ValidationReport
from espnet2_sv.errors import SVError


@pytest.fixture
def data_dir(tmp_path, write_wav):
    """A folder of three speakers with two utterances each."""
    folder = tmp_path / "data"
    utt2spk = {f"{spk}-{i}": spk for spk in ("amy", "bob", "cem") for i in (1, 2)}
    wavs = {
        utt: write_wav(f"audio/{utt}.wav", 800 + i) for i, utt in enumerate(utt2spk)
    }
    write_two_column(folder / "wav.scp", wavs)
    write_two_column(folder / "utt2spk", utt2spk)
    speakers = set(utt2spk.values())
    write_spk2utt(
        folder / "spk2utt",
        {s: [utt for utt in utt2spk if utt2spk[utt] == s] for s in speakers},
    )
    (folder / "trials").write_text("amy-1 amy-2 target\namy-1 bob-1 nontarget\n")
    return folder


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def problems_of(folder, **kwargs):
    report = check_data_dir(folder, **kwargs)
    return [line.replace(f"{folder}/", "") for line in report.problems()]


def warnings_of(folder, **kwargs):
    report = check_data_dir(folder, **kwargs)
    return [line.replace(f"{folder}/", "") for line in report.warnings()]


@pytest.mark.parametrize("audio", ["none", "header", "full"])
def test_a_sound_folder_passes(data_dir, audio):
    options = {"train": True, "trials": [data_dir / "trials"], "audio": audio}
    assert problems_of(data_dir, **options) == []
    assert warnings_of(data_dir, **options) == []


@pytest.mark.parametrize("name", ["wav.scp", "utt2spk", "spk2utt"])
def test_a_missing_or_empty_table_is_reported(data_dir, name):
    (data_dir / name).write_text("")
    assert f"{name}: is empty" in problems_of(data_dir)
    (data_dir / name).unlink()
    assert f"{name}: is missing" in problems_of(data_dir)


def test_speakers_are_needed_for_training_only(data_dir):
    (data_dir / "utt2spk").unlink()
    (data_dir / "spk2utt").unlink()
    assert problems_of(data_dir, trials=[data_dir / "trials"]) == []
    assert problems_of(data_dir, train=True) == [
        "utt2spk: is missing",
        "spk2utt: is missing",
    ]


def test_a_folder_that_does_not_exist_is_reported(tmp_path):
    assert "wav.scp: is missing" in problems_of(tmp_path / "none")


def test_all_malformed_lines_are_reported(data_dir):
    path = data_dir / "wav.scp"
    path.write_text(
        path.read_text() + "\nlonely\n  x y\namy-1 again.wav\nbob-2 again.wav\n"
    )
    assert problems_of(data_dir)[:5] == [
        "wav.scp: line 7 is empty; remove it",
        "wav.scp: line 8 has a key but no value: lonely",
        "wav.scp: line 9 starts with white space; remove it",
        "wav.scp: line 10 repeats key amy-1 of line 1; keep one",
        "wav.scp: line 11 repeats key bob-2 of line 4; keep one",
    ]


def test_bytes_that_are_not_utf8_are_reported(data_dir):
    (data_dir / "utt2spk").write_bytes(b"amy-1 \xff\n")
    assert "utt2spk: line 1 is not UTF-8; convert the file" in problems_of(data_dir)


def test_a_table_out_of_order_is_reported(data_dir):
    lines = (data_dir / "wav.scp").read_text().splitlines(keepends=True)
    (data_dir / "wav.scp").write_text(
        "".join([*lines[:2], lines[3], lines[2], *lines[4:]])
    )
    (line,) = problems_of(data_dir)
    assert line.startswith(
        "wav.scp: is not sorted, bob-1 (line 4) comes after bob-2; run LC_ALL=C"
    )


def test_order_is_that_of_bytes_not_of_a_language(data_dir):
    for name in ("wav.scp", "utt2spk"):
        edit(data_dir / name, "cem-1", "Cem-1")
    edit(data_dir / "spk2utt", "cem-1", "Cem-1")
    assert [line.split(",")[0] for line in problems_of(data_dir)] == [
        "wav.scp: is not sorted",
        "utt2spk: is not sorted",
    ]


def test_utterances_that_only_one_table_has_are_named(data_dir):
    edit(data_dir / "utt2spk", "bob-2 bob\n", "")
    edit(data_dir / "spk2utt", "bob-1 bob-2", "bob-1")
    edit(data_dir / "utt2spk", "cem-2 cem\n", "cem-2 cem\ndan-1 cem\n")
    edit(data_dir / "spk2utt", "cem-2", "cem-2 dan-1")
    assert problems_of(data_dir) == [
        "utt2spk: utterance bob-2 of wav.scp is missing",
        "wav.scp: utterance dan-1 of utt2spk is missing",
    ]


def test_disagreement_between_speaker_tables_is_named(data_dir):
    edit(data_dir / "spk2utt", "bob-1 bob-2", "bob-1")
    edit(data_dir / "utt2spk", "amy-2 amy", "amy-2 cem")
    assert problems_of(data_dir) == [
        "spk2utt: utterance amy-2 has speaker amy, unlike in utt2spk",
        "utt2spk: utterance amy-2 has speaker cem, unlike in spk2utt",
        "utt2spk: utterance bob-2 has speaker bob, unlike in spk2utt",
    ]
    edit(data_dir / "spk2utt", "amy-1 amy-2", "amy-1 amy-2 amy-1")
    assert any(
        "utterance amy-1 is listed for speaker amy and again" in p
        for p in problems_of(data_dir)
    )


def test_a_training_speaker_with_one_utterance_is_a_warning(data_dir):
    for name in ("wav.scp", "utt2spk"):
        lines = (data_dir / name).read_text().splitlines(keepends=True)
        (data_dir / name).write_text("".join(lines[:-1]))
    edit(data_dir / "spk2utt", " cem-2", "")
    assert problems_of(data_dir, train=True) == []
    assert warnings_of(data_dir, train=True) == [
        "utt2spk: 1 of 3 training speakers has one utterance: cem"
    ]
    assert warnings_of(data_dir) == []


def test_one_training_speaker_is_a_problem(tmp_path, write_wav):
    write_two_column(
        tmp_path / "d/wav.scp", {f"u{i}": write_wav(f"{i}.wav", 999) for i in (1, 2)}
    )
    write_two_column(tmp_path / "d/utt2spk", {"u1": "amy", "u2": "amy"})
    write_two_column(tmp_path / "d/spk2utt", {"amy": "u1 u2"})
    assert problems_of(tmp_path / "d") == []
    assert problems_of(tmp_path / "d", train=True) == [
        "utt2spk: has one speaker; training needs several"
    ]


def test_trials_are_checked_against_the_tables(data_dir):
    edit(
        data_dir / "trials",
        "amy-1 bob-1 nontarget",
        "amy-1 bob-1 target\namy-1 zed-1 nontarget",
    )
    assert problems_of(data_dir, trials=[data_dir / "trials"]) == [
        "trials: line 2 has label target, but amy-1 is of speaker amy and bob-1 of bob",
        "trials: utterance zed-1 of 1 trials is not in wav.scp; add it or remove the"
        " trials",
    ]


def test_enrolment_models_are_names_for_trials(data_dir):
    (data_dir / "enroll_spk2utt").write_text("m-amy amy-1 amy-2\nm-bob bob-1\n")
    (data_dir / "trials").write_text("m-amy amy-2 target\nm-bob amy-1 nontarget\n")
    assert problems_of(data_dir, trials=[data_dir / "trials"]) == []
    (data_dir / "enroll_spk2utt").write_text("m-amy amy-1 bob-2\nm-bob bob-9\n")
    assert problems_of(data_dir, trials=[data_dir / "trials"]) == [
        "enroll_spk2utt: model m-amy has utterances of several speakers",
        "enroll_spk2utt: utterance bob-9 of model m-bob is unknown",
    ]


def test_shared_speakers_and_utterances_are_named(data_dir, tmp_path):
    write_two_column(
        tmp_path / "valid/utt2spk", {"amy-9": "amy", "bob-1": "bob", "zed-1": "zed"}
    )
    assert problems_of(data_dir, against=[tmp_path / "valid"]) == [
        f"utt2spk: {what} is also in {tmp_path}/valid/utt2spk; overlap inflates"
        " results, hold it out"
        for what in ("speaker amy", "speaker bob", "utterance bob-1")
    ]
    write_two_column(tmp_path / "valid/utt2spk", {"zed-1": "zed"})
    assert problems_of(data_dir, against=[tmp_path / "valid"]) == []


def test_segments_are_the_utterances_where_there_are_any(data_dir):
    utts = [line.split() for line in (data_dir / "wav.scp").read_text().splitlines()]
    write_two_column(data_dir / "wav.scp", {f"rec-{utt}": path for utt, path in utts})
    write_two_column(
        data_dir / "segments", {utt: f"rec-{utt} 0 0.05" for utt, _ in utts}
    )
    assert problems_of(data_dir, train=True, trials=[data_dir / "trials"]) == []
    edit(data_dir / "segments", "rec-bob-1 0 0.05", "rec-bob-1 0.05 0.01")
    edit(data_dir / "segments", "rec-cem-1", "rec-cem-9")
    problems = problems_of(data_dir)
    assert len(problems) == 2
    assert "utterance bob-1: goes from 0.05 s to 0.01 s" in problems[0]
    assert "utterance cem-1: recording rec-cem-9 is not in" in problems[1]


def test_problems_are_cut_and_counted(data_dir):
    for path in (data_dir.parent / "audio").iterdir():
        path.unlink()
    problems = problems_of(data_dir, listed=2)
    assert len(problems) == 3
    assert problems[2] == "audio: 4 more"
    assert check_data_dir(data_dir, listed=2).num_problems == 6


def test_an_unknown_level_is_refused(data_dir):
    with pytest.raises(SVError, match="check_audio is some; choose none, header, full"):
        check_data_dir(data_dir, audio="some")


def test_durations_are_written_where_all_is_well(data_dir, tmp_path):
    assert problems_of(data_dir, utt2dur=tmp_path / "utt2dur") == []
    seconds = read_two_column(tmp_path / "utt2dur")
    assert list(seconds) == list(read_two_column(data_dir / "wav.scp"))
    assert set(seconds.values()) == {"0.050"}
    (data_dir.parent / "audio/bob-1.wav").unlink()
    assert len(problems_of(data_dir, utt2dur=tmp_path / "none")) == 1
    assert not (tmp_path / "none").exists()


def test_a_shard_looks_at_audio_only(data_dir):
    (data_dir.parent / "audio/bob-1.wav").unlink()
    (data_dir / "utt2spk").unlink()
    (line,) = problems_of(data_dir, shard="1/1")
    assert "utterance bob-1: " in line
    with pytest.raises(SVError, match="shard checks audio only"):
        check_data_dir(data_dir, audio="none", shard="1/2")


SPEAKERS = {"a1": "a", "a2": "a", "b1": "b", "b2": "b"}


@pytest.fixture
def check(tmp_path):
    def run(text, enroll=SPEAKERS, speaker_of=SPEAKERS):
        (tmp_path / "trials").write_text(text)
        report = ValidationReport()
        check_trials(tmp_path / "trials", enroll, SPEAKERS, speaker_of, report)
        problems, warnings = (
            [line.removeprefix(f"{tmp_path}/trials: ") for line in lines]
            for lines in (report.problems(), report.warnings())
        )
        return problems, warnings

    return run


def test_a_sound_list_passes(check):
    assert check("a1 a2 target\na1 b1 nontarget\nb1 a1 nontarget\n") == ([], [])


def test_models_may_enrol(check):
    text = "model-a a2 target\nmodel-a b1 nontarget\n"
    assert check(text, {"model-a"}, SPEAKERS | {"model-a": "a"}) == ([], [])


def test_an_unknown_utterance_is_reported_once_with_its_trials(check):
    problems, _ = check(
        "a1 a2 target\na1 x nontarget\nx b1 nontarget\nb1 y nontarget\n"
    )
    assert problems == [
        "utterance x of 2 trials is not in wav.scp; add it or remove the trials",
        "utterance y of 1 trials is not in wav.scp; add it or remove the trials",
    ]


def test_models_may_not_be_tested(check):
    problems, _ = check("a1 a2 target\na1 model nontarget\n", SPEAKERS | {"model": "b"})
    assert problems == [
        "utterance model of 1 trials is not in wav.scp; add it or remove the trials"
    ]


def test_bad_lines_labels_and_repetitions_are_reported_by_line(check):
    problems, warnings = check(
        "a1 a2 target\na1 b1 nontarget\na1 b2 1\na1 b2\n\na1 a2 target\na1 b1 target\n"
    )
    assert warnings == [  # as published lists do
        "1 of 7 trials are listed again, and each counts: line 6 lists a1 a2 again"
    ]
    assert problems == [
        "line 3 has label 1; write target or nontarget",
        "line 4 has 2 fields; write enroll_utt test_utt label",
        "line 5 has 0 fields; write enroll_utt test_utt label",
        "line 7 lists a1 b1 with both labels; keep one line",
        "line 7 has label target, but a1 is of speaker a and b1 of b",
    ]


def test_labels_agree_with_the_speakers_where_known(check):
    text = "a1 b1 target\na1 a2 nontarget\n"
    problems, _ = check(text)
    assert problems == [
        "line 1 has label target, but a1 is of speaker a and b1 of b",
        "line 2 has label nontarget, but a1 is of speaker a and a2 of a",
    ]
    assert check(text, speaker_of={})[0] == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("a1 a2 target\n", ["nontarget"]),
        ("a1 b1 nontarget\n", ["target"]),
        ("", ["target", "non"]),
    ],
)
def test_one_class_only_is_a_problem(check, text, missing):
    problems, _ = check(text)
    assert len(problems) == len(missing)
    for line, label in zip(problems, missing, strict=True):
        assert line.startswith(f"has no {label}")


def test_an_utterance_against_itself_is_a_warning(check):
    problems, warnings = check("a1 a1 target\na1 b1 nontarget\n")
    assert problems == []
    assert warnings == [
        "1 of 2 trials compare an utterance with itself: line 1 compares a1 with itself"
    ]


def test_a_missing_list_is_a_problem(tmp_path):
    report = ValidationReport()
    check_trials(tmp_path / "none", {}, {}, {}, report)
    (line,) = report.problems()
    assert line.startswith(f"{tmp_path}/none: cannot be read")


def test_segments_that_end_after_their_recording_are_problems(data_dir):
    wavs = read_two_column(data_dir / "wav.scp")
    first, second = sorted(wavs)[:2]
    write_two_column(
        data_dir / "segments", {"x": f"{first} 0 99", "y": f"{second} 0 0.2"}
    )
    lines = list(check_data_dir(data_dir).problems())
    (ends,) = [line for line in lines if "segment ends at" in line]
    assert "segments: utterance x: " in ends and "segment ends at 99.00 s" in ends


def test_recordings_too_short_for_any_model_are_named(data_dir, write_wav, tmp_path):
    write_wav("audio/bob-1.wav", 399)
    write_wav("audio/cem-2.wav", 400)
    for kwargs in ({}, {"audio": "full"}, {"shard": "1/1"}):
        (line,) = problems_of(data_dir, **kwargs)
        assert line.startswith("wav.scp: utterance bob-1: ")
        assert "lasts 0.0249 s, less than the 0.025 s" in line
    report = format_data_dir(data_dir, tmp_path / "formatted")
    (line,) = report.problems()
    assert "utterance bob-1: " in line
    assert "less than the 0.025 s" in line


def test_names_that_look_alike_are_named_across_files(data_dir):
    for name in ("utt2spk", "spk2utt", "wav.scp"):
        text = (data_dir / name).read_text().replace("cem", "ce\u0301m")
        (data_dir / name).write_text(text)
    edit(data_dir / "wav.scp", "ce\u0301m-1 ", "c\u00e9m-1 ")
    (data_dir / "trials").write_text(
        "c\u00e9m-1 c\u00e9m-2 target\namy-1 amy-2 nontarget\n"
    )
    problems = problems_of(data_dir, trials=[data_dir / "trials"], audio="none")
    alike = [line for line in problems if "differ only in Unicode" in line]
    assert any("utterance c\u00e9m-1 of " in line for line in alike)
    assert any("utterance c\u00e9m-2 of 1 trials" in line for line in alike)


def test_speakers_that_look_alike_are_shared(data_dir, tmp_path):
    write_two_column(data_dir / "utt2spk", {"amy-1": "\u00e9"})
    write_two_column(tmp_path / "other/utt2spk", {"zoe-1": "e\u0301"})
    problems = problems_of(data_dir, against=[tmp_path / "other"], audio="none")
    assert any("speaker \u00e9 is also in" in line for line in problems)
