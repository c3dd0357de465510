import pytest

from espnet2_sv.bin.sv_make_trials import main
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.trials import read_trials


@pytest.fixture
def files(tmp_path):
    utterances = [(s, u) for s in range(6) for u in range(8)]
    (tmp_path / "utt2spk").write_text(
        "".join(f"s{s}u{u} s{s}\n" for s, u in utterances)
    )
    (tmp_path / "utt2dur").write_text(
        "".join(f"s{s}u{u} {u + 1}\n" for s, u in utterances)
    )
    return tmp_path


def make(root, *options):
    main(["--utt2spk", f"{root}/utt2spk", "--output", f"{root}/trials", *options])
    return read_trials(root / "trials")


def test_list_and_conditions(files):
    options = [
        "--utt2dur",
        f"{files}/utt2dur",
        "--n_target",
        "60",
        "--n_nontarget",
        "90",
    ]
    trials = make(
        files, *options, "--boundary", "5", "--condition_output", f"{files}/condition"
    )
    assert (trials.labels.sum(), (~trials.labels).sum()) == (60, 90)
    lines = [line.split() for line in (files / "condition").read_text().splitlines()]
    assert {(a, b) for a, b, _ in lines} == set(
        zip(trials.enroll, trials.test, strict=True)
    )
    for a, b, condition in lines:
        short = sorted(int(name[-1]) + 1 < 5 for name in (a, b))
        assert (
            condition == {0: "long-long", 1: "short-long", 2: "short-short"}[sum(short)]
        )


def test_without_durations(files):
    trials = make(files, "--n_target", "20", "--n_nontarget", "30")
    assert len(trials) == 50


def test_only_trials_within_equal_values(files):
    """A language and a device of each utterance, of which trials have one."""
    text = (files / "utt2spk").read_text()
    utterances = text.split()[::2]
    lang = {utt: "en" if int(utt[3]) < 5 else "de" for utt in utterances}
    device = {utt: "ab"[int(utt[1]) % 2] for utt in utterances}
    options = ["--n_target", "40", "--n_nontarget", "60"]
    for name, values in (("utt2lang", lang), ("utt2device", device)):
        lines = (f"{utt} {value}\n" for utt, value in values.items())
        (files / name).write_text("".join(lines))
        options += ["--same", f"{files}/{name}"]
    trials = make(files, *options)
    assert (trials.labels.sum(), (~trials.labels).sum()) == (40, 60)
    for a, b in zip(trials.enroll, trials.test, strict=True):
        assert (lang[a], device[a]) == (lang[b], device[b])
    assert {lang[utt] for utt in trials.enroll} == {"en", "de"}
    (files / "utt2lang").write_text("s0u0 en\n")
    before = (files / "trials").read_text()
    with pytest.raises(SVError, match=r"utt2lang: has no value for s0u1 \(47 are miss"):
        make(files, *options)
    assert (files / "trials").read_text() == before


def test_refuses(files):
    with pytest.raises(SVError, match="choose from short-short"):
        make(files, "--utt2dur", f"{files}/utt2dur", "--conditions", "loud-quiet")
    (files / "utt2dur").write_text("s0u0 long\n")
    with pytest.raises(SVError, match="s0u0 has the duration 'long'"):
        make(files, "--utt2dur", f"{files}/utt2dur")
