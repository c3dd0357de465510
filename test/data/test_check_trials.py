import pytest

from espnet2_sv.data.check_trials import check_trials
from espnet2_sv.data.findings import ValidationReport

SPEAKERS = {"a1": "a", "a2": "a", "b1": "b", "b2": "b"}


@pytest.fixture
def check(tmp_path):
    def run(text, enroll=SPEAKERS, speaker_of=SPEAKERS):
        (tmp_path / "trials").write_text(text)
        findings = ValidationReport()
        check_trials(tmp_path / "trials", enroll, SPEAKERS, speaker_of, findings)
        problems, warnings = (
            [line.removeprefix(f"{tmp_path}/trials: ") for line in lines]
            for lines in (findings.problems(), findings.warnings())
        )
        return problems, warnings

    return run


def test_a_sound_list_passes(check):
    assert check("a1 a2 target\na1 b1 nontarget\nb1 a1 nontarget\n") == ([], [])


def test_models_may_enrol(check):
    text = "model-a a2 target\nmodel-a b1 nontarget\n"
    assert check(text, {"model-a"}, SPEAKERS | {"model-a": "a"}) == ([], [])


def test_an_unknown_utterance_is_told_once_with_its_trials(check):
    problems, _ = check(
        "a1 a2 target\na1 x nontarget\nx b1 nontarget\nb1 y nontarget\n"
    )
    assert problems == [
        "utterance x of 2 trials is not in wav.scp; add it or remove them",
        "utterance y of 1 trials is not in wav.scp; add it or remove them",
    ]


def test_models_may_not_be_tested(check):
    problems, _ = check("a1 a2 target\na1 model nontarget\n", SPEAKERS | {"model": "b"})
    assert problems == [
        "utterance model of 1 trials is not in wav.scp; add it or remove them"
    ]


def test_bad_lines_labels_and_repetitions_are_told_by_line(check):
    problems, warnings = check(
        "a1 a2 target\na1 b1 nontarget\na1 b2 1\na1 b2\n\na1 a2 target\na1 b1 target\n"
    )
    assert warnings == [
        "line 6 lists a1 a2 again; each counts"
    ]  # as published lists do
    assert problems == [
        "line 3 has label 1; write target or nontarget",
        "line 4 has 2 fields; write enroll_utt test_utt label",
        "line 5 has 0 fields; write enroll_utt test_utt label",
        "line 7 lists a1 b1 with both labels; keep one line",
        "line 7 says target, but a1 is of speaker a and b1 of b",
    ]


def test_labels_are_held_against_speakers_where_these_are_known(check):
    text = "a1 b1 target\na1 a2 nontarget\n"
    problems, _ = check(text)
    assert problems == [
        "line 1 says target, but a1 is of speaker a and b1 of b",
        "line 2 says nontarget, but a1 is of speaker a and a2 of a",
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
    assert warnings == ["line 1 compares a1 with itself"]


def test_a_missing_list_is_a_problem(tmp_path):
    findings = ValidationReport()
    check_trials(tmp_path / "none", {}, {}, {}, findings)
    (line,) = findings.problems()
    assert line.startswith(f"{tmp_path}/none: cannot be read")
