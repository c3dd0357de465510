"""Data directories of ESPnet's spk1 recipes, in the form that their scripts write."""

import pytest

from espnet2_sv.data.check_data import check_data_dir
from espnet2_sv.data.formatting import format_data_dir
from espnet2_sv.data.kaldi import read_spk2utt
from espnet2_sv.data.spk1_trials import read_spk1_trials
from espnet2_sv.errors import SVError

# (enrolment, test, label) as the converter of each recipe names them, and the speaker
RECIPES = {
    "voxceleb": (
        [
            ("id10270/vidA/00001", "id10270/vidA/00002", 1),
            ("id10270/vidA/00001", "id10271/vidB/00001", 0),
            ("id10271/vidB/00002", "id10271/vidB/00001", 1),
        ],
        lambda utt: utt.split("/")[0],
    ),
    "cnceleb": (
        [
            ("id00800-enroll", "id00800-singing-01-001", 1),
            ("id00800-enroll", "id00801-singing-01-001", 0),
        ],
        lambda utt: utt.split("-")[0],
    ),
    "asvspoof": (  # enrolment models are recordings; speakers are unknown
        [("LA_0039", "LA_E_1000001", 1), ("LA_0039", "LA_E_1000003", 0)],
        lambda utt: utt,
    ),
    "rats": (
        [
            ("S1/alv/src/20001_alv_src", "S1/alv/A/20001_30001_alv_A", 1),
            ("S1/alv/src/20001_alv_src", "S2/alv/src/20002_alv_src", 0),
        ],
        lambda utt: utt.split("/")[0],
    ),
}


@pytest.fixture
def make(tmp_path, write_wav):
    """Return a function that writes a data directory of a recipe, and its path."""

    def write(trials, speaker):
        folder = tmp_path / "data"
        folder.mkdir()
        utts = sorted({utt for trial in trials for utt in trial[:2]})
        wavs = {utt: write_wav(f"{utt.replace('/', '_')}.wav", 800) for utt in utts}
        spk2utt = {}
        for utt in utts:
            spk2utt.setdefault(speaker(utt), []).append(utt)
        lines = {
            "wav.scp": [f"{utt} {wavs[utt]}" for utt in utts],
            "utt2spk": [f"{utt} {speaker(utt)}" for utt in utts],
            "spk2utt": [f"{spk} {' '.join(spk2utt[spk])}" for spk in sorted(spk2utt)],
            "trial.scp": [f"{a}*{b} {wavs[a]}" for a, b, _ in trials],
            "trial2.scp": [f"{a}*{b} {wavs[b]}" for a, b, _ in trials],
            "trial_label": [f"{a}*{b} {label}" for a, b, label in trials],
        }
        for name, rows in lines.items():
            (folder / name).write_text("".join(f"{row}\n" for row in rows))
        return folder

    return write


@pytest.fixture
def folder(make):
    return make(*RECIPES["voxceleb"])


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def lines_of(trials):
    label = {1: "target", 0: "nontarget"}
    return [f"{a} {b} {label[same]}" for a, b, same in trials]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_directory_of_each_recipe_is_checked_and_formatted(make, recipe, tmp_path):
    trials, speaker = RECIPES[recipe]
    folder = make(trials, speaker)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    report = check_data_dir(folder, trials=[folder / "trials"])
    assert list(report.problems()) == []
    unknown = [line for line in report.warnings() if "is its own speaker" in line]
    assert len(unknown) == (recipe == "asvspoof")
    assert not format_data_dir(folder, tmp_path / "dump").num_problems
    written = (tmp_path / "dump/trials").read_text().splitlines()
    assert written == lines_of(trials)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_speaker_may_have_a_line_for_each_part_of_a_joined_set(folder, tmp_path):
    utts = [line.split() for line in (folder / "utt2spk").read_text().splitlines()]
    (folder / "spk2utt").write_text("".join(f"{spk} {utt}\n" for utt, spk in utts))
    options = {"trials": [folder / "trials"], "audio": "none"}
    assert list(check_data_dir(folder, **options).problems()) == []
    assert not format_data_dir(folder, tmp_path / "dump").num_problems
    assert read_spk2utt(tmp_path / "dump/spk2utt") == {
        "id10270": ["id10270/vidA/00001", "id10270/vidA/00002"],
        "id10271": ["id10271/vidB/00001", "id10271/vidB/00002"],
    }
    assert check_data_dir(folder, train=True, **options).num_problems
    edit(folder / "spk2utt", "id10271 id", "id10270 id")
    assert check_data_dir(folder, **options).num_problems == 2


def test_no_trial_is_lost_in_whatever_order_and_however_often_it_is_listed(folder):
    trials = RECIPES["voxceleb"][0]
    for name in ("trial.scp", "trial2.scp", "trial_label"):
        lines = (folder / name).read_text().splitlines()
        lines.append(lines[0])  # as in published lists
        if name == "trial2.scp":
            lines.reverse()
        (folder / name).write_text("\n".join(lines) + "\n")
    assert read_spk1_trials(folder) == lines_of([*trials, trials[0]])


def test_a_list_of_trials_goes_before_spk1s_files(folder, tmp_path):
    line = "id10270/vidA/00001 id10270/vidA/00002 target\n"
    (folder / "trials").write_text(line)
    (folder / "trial_label").unlink()
    assert not format_data_dir(folder, tmp_path / "dump").num_problems
    assert (tmp_path / "dump/trials").read_text() == line


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "trial2.scp",
            "id10271/vidB/00002*",
            "id10271/vidB/00009*",
            r"trial2\.scp: 1 trials of trial_label are missing, e\.g\."
            r" id10271/vidB/00002\*id10271/vidB/00001; write the three files again",
        ),
        ("trial_label", "00002 1\n", "00002 2\n", r"trial_label: line 1 has label 2;"),
        ("trial_label", "00002 1\n", "00002\n", "trial_label: line 1 has no value;"),
        ("trial_label", "00002 1\n", "00002 1\n\n", "trial_label: line 2 has no value"),
        ("trial.scp", "*", "-", r"trial\.scp: line 1 has the key .*enroll_utt\*test"),
        ("trial.scp", "*", "**", r"trial\.scp: line 1 has the key .*enroll_utt\*test"),
        (
            "trial.scp",
            "vidA_00001.wav",
            "vidA_00002.wav",
            r"trial\.scp: id10270/vidA/00001 is .*; give every recording its own name",
        ),
        (
            "wav.scp",
            "id10270_vidA_00001.wav",
            "other.wav",
            r"trial\.scp: id10270/vidA/00001 is .*, but .*other\.wav in wav\.scp;",
        ),
    ],
)
def test_files_that_contradict_each_other_are_named(folder, name, old, new, message):
    edit(folder / name, old, new)
    with pytest.raises(SVError, match=message) as error:
        read_spk1_trials(folder)
    assert str(error.value).startswith(f"{folder}/")
    report = check_data_dir(folder, trials=[folder / "trials"], audio="none")
    assert str(error.value) in list(report.problems())


def test_a_trial_that_only_a_recording_file_has_is_not_dropped(folder):
    with open(folder / "trial.scp", "a") as f:
        f.write("a*b /x.wav\n")
    with pytest.raises(
        SVError, match=r"trial_label: 1 trials of trial\.scp are missing, e\.g\. a\*b"
    ):
        read_spk1_trials(folder)


@pytest.mark.parametrize("name", ["trial.scp", "trial2.scp", "trial_label"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(SVError, match=rf"/{name}: cannot be read"):
        read_spk1_trials(folder)


def test_an_unknown_utterance_is_reported(folder):
    for name in ("wav.scp", "utt2spk"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[1:]))
    edit(folder / "spk2utt", "id10270 id10270/vidA/00001 ", "id10270 ")
    report = check_data_dir(folder, trials=[folder / "trials"])
    assert list(report.problems()) == [
        f"{folder}/trial_label: utterance id10270/vidA/00001 of 2 trials is not in"
        " wav.scp; add it or remove the trials"
    ]


def test_trials_of_recordings_that_are_cut_are_refused(folder):
    utts = [line.split()[0] for line in (folder / "wav.scp").read_text().splitlines()]
    (folder / "segments").write_text("".join(f"{u}-a {u} 0 0.02\n" for u in utts))
    with pytest.raises(SVError, match="00001 is a recording of wav"):
        read_spk1_trials(folder)
