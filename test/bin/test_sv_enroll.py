import json
import shutil
import sys

import numpy as np
import pytest
import soundfile

from espnet2_sv import SpeakerVerifier
from espnet2_sv.bin.sv_enroll import main as enroll
from espnet2_sv.bin.sv_identify import main as identify
from espnet2_sv.bin.sv_verify import main as verify
from espnet2_sv.errors import SVError
from espnet2_sv.scoring.calibration import Calibration


@pytest.fixture
def run(speaker_exp, tmp_path, capsys):
    """Run a command with the model and the store; return what it prints."""

    def call(main, *words, model=speaker_exp):
        options = ["--model", model, "--speakers", tmp_path / "st", *words]
        main([str(word) for word in options])
        return capsys.readouterr().out

    return call


def test_speakers_are_enrolled_listed_identified_and_removed(
    run, speaker_exp, an4, tmp_path
):
    a1, a2, a3 = (an4[n] for n in ("an251-fash-b", "an253-fash-b", "cen7-fash-b"))
    b = an4["cen8-mmxg-b"]
    assert run(enroll, "--name", "fash", "--audio", a1, a2) == (
        f"{tmp_path / 'st'}: 1 speaker\n"
    )
    run(enroll, "--name", "mm xg", "--audio", b)
    listed = run(enroll, "--name", "fash", "--audio", a3, "--list")
    table = [line.split("\t") for line in listed.splitlines()]
    assert [(name, n) for name, n, _ in table] == [("fash", "3"), ("mm xg", "1")]

    expected = SpeakerVerifier.from_pretrained(speaker_exp)
    expected.enroll("fash", [a1, a2, a3])
    expected.enroll("mm xg", b)
    found = json.loads(run(identify, "--audio", a3, "--threshold", -1))
    ranking = expected.identify(a3)
    assert [s["name"] for s in found["speakers"]] == ranking.names
    assert [s["score"] for s in found["speakers"]] == pytest.approx(
        ranking.scores, abs=1e-6
    )
    assert found["decision"] == ranking.names[0]
    [top] = json.loads(run(identify, "--audio", a3, "--top_k", 1))["speakers"]
    assert top["name"] == ranking.names[0]
    result = json.loads(run(verify, "--enroll", "fash", "--test", b))
    assert result["score"] == pytest.approx(expected.verify("fash", b)["score"])

    assert run(enroll, "--remove", "fash", "--list").split("\t")[0] == "mm xg"
    with pytest.raises(SVError, match="fash: no speaker"):
        run(enroll, "--remove", "fash")


def test_many_speakers_are_enrolled_as_one_by_one(run, speaker_exp, an4, tmp_path):
    (tmp_path / "wav.scp").write_text("".join(f"{n} {p}\n" for n, p in an4.items()))
    utt2spk = [f"{name} {name.split('-')[1]}\n" for name in an4]
    (tmp_path / "utt2spk").write_text("".join(utt2spk))
    lists = ("--wav_scp", tmp_path / "wav.scp", "--utt2spk", tmp_path / "utt2spk")
    run(enroll, *lists)
    assert {p.name for p in tmp_path.iterdir()} == {"wav.scp", "utt2spk", "st"}
    many, expected = (SpeakerVerifier.from_pretrained(speaker_exp) for _ in range(2))
    many.load(tmp_path / "st")
    for name, path in an4.items():
        expected.enroll(name.split("-")[1], path)
    assert set(many.speakers) == set(expected.speakers)
    for name in expected.speakers:
        one, other = many.speakers[name], expected.speakers[name]
        assert one.embedding == pytest.approx(other.embedding, abs=1e-5)
        assert one.recordings == other.recordings
        assert one.quality.duration == pytest.approx(other.quality.duration, abs=0.01)
    (tmp_path / "utt2spk").write_text("".join(utt2spk[:-1]))
    with pytest.raises(SVError, match=r"utt2spk: has no \S+, which is in"):
        run(enroll, *lists)


@pytest.fixture
def lists(an4, tmp_path):
    """Options for a list of four recordings of three speakers."""
    chosen = ("an251-fash-b", "an253-fash-b", "cen7-fbbh-b", "cen8-mmxg-b")
    table = {name: an4.get(name, an4["an251-fash-b"]) for name in chosen}
    (tmp_path / "wav.scp").write_text("".join(f"{n} {p}\n" for n, p in table.items()))
    speakers = "".join(f"{name} {name.split('-')[1]}\n" for name in table)
    (tmp_path / "utt2spk").write_text(speakers)
    return ["--wav_scp", tmp_path / "wav.scp", "--utt2spk", tmp_path / "utt2spk"]


def recordings(listed: str) -> dict[str, int]:
    rows = (line.split("\t") for line in listed.splitlines())
    return {name: int(count) for name, count, _ in rows}


@pytest.fixture
def killed(run, lists, monkeypatch):
    """Enrol the list; an exception that nothing catches ends it at a moment."""

    def call(moment):
        save = SpeakerVerifier.save

        def die(self, path):
            if moment == "after saving":
                save(self, path)
            sys.exit("killed")

        with monkeypatch.context() as patch:
            patch.setattr(SpeakerVerifier, "save", die)
            with pytest.raises(SystemExit, match="killed"):
                run(enroll, *lists)

    return call


@pytest.mark.parametrize("moment", ["before saving", "after saving"])
def test_a_killed_enrolment_is_repeated_and_counts_once(run, lists, killed, moment):
    killed(moment)
    run(enroll, "--name", "fash", "--audio", lists[1].read_text().split()[1])
    once = {"fash": 3, "fbbh": 1, "mmxg": 1}
    assert recordings(run(enroll, *lists, "--list")) == once
    twice = {"fash": 5, "fbbh": 2, "mmxg": 2}  # asked for anew
    assert recordings(run(enroll, *lists, "--list")) == twice


def test_another_list_is_enrolled_after_a_kill(run, lists, killed):
    killed("after saving")
    lists[1].write_text(lists[1].read_text().partition("\n")[2])
    found = recordings(run(enroll, *lists, "--list"))
    assert found == {"fash": 3, "fbbh": 2, "mmxg": 2}


def test_bad_recordings_are_left_out_and_listed(run, lists, tmp_path, caplog):
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    bad = {"cen7-fbbh-b": "silent.wav", "an253-fash-b": "gone.wav"}
    table = dict(line.split() for line in lists[1].read_text().splitlines())
    table |= {name: str(tmp_path / path) for name, path in bad.items()}
    lists[1].write_text("".join(f"{n} {p}\n" for n, p in table.items()))
    with pytest.raises(SVError, match=r"utterance (cen7-fbbh-b|an253-fash-b): "):
        run(enroll, *lists)
    assert not (tmp_path / "st").exists()
    listed = run(enroll, *lists, "--skip_bad", "true", "--list")
    assert recordings(listed) == {"fash": 1, "mmxg": 1}
    failed = (tmp_path / "st.failed").read_text().splitlines()
    assert {line.split()[0] for line in failed} == set(bad)
    assert "gone.wav" in (tmp_path / "st.failed").read_text()
    assert "2 of 4 recordings are not enrolled, see" in caplog.text
    assert "nobody is enrolled as fbbh" in caplog.text


def test_a_list_without_a_usable_recording_is_refused(run, lists, tmp_path):
    lists[1].write_text("cen7-fbbh-b gone.wav\n")
    with pytest.raises(SVError, match="cen7-fbbh-b"):
        run(enroll, *lists, "--skip_bad", "true")
    pytest.importorskip("silero_vad")
    noise = np.random.default_rng(0).normal(0, 1e-3, 32000)
    soundfile.write(tmp_path / "noise.wav", noise, 16000)
    lists[1].write_text(f"cen7-fbbh-b {tmp_path / 'noise.wav'}\n")
    with pytest.raises(SVError, match=r"cen7-fbbh-b: .*speech found"):
        run(enroll, *lists, "--skip_bad", "true")
    assert not (tmp_path / "st").exists()


def test_a_rate_of_false_accepts_needs_a_calibration(run, speaker_exp, an4, tmp_path):
    a, b = an4["cen7-fash-b"], an4["cen8-mmxg-b"]
    run(enroll, "--name", "fash", "--audio", a)
    with pytest.raises(SVError, match="calibration"):
        run(identify, "--audio", a, "--false_accept_rate", 0.1)
    assert json.loads(run(identify, "--audio", a))["decision"] is None
    exp = shutil.copytree(speaker_exp, tmp_path / "exp")
    Calibration(10.0, -5.0, {}, {}).save(exp / "calibration.json")
    for rate, decision in ((0.1, "fash"), (1e-9, "unknown")):
        words = ("--audio", a, "--false_accept_rate", rate)
        found = json.loads(run(identify, *words, model=exp))
        assert (found["decision"], found["threshold_on"]) == (decision, "llr")
        assert found["speakers"][0]["llr"] == pytest.approx(5, abs=1e-4)
    assert json.loads(run(identify, "--audio", b, model=exp))["enrolled"] == 1


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "nothing to do"),
        (["--name", "ann"], "--audio belong together"),
        (["--audio", "EXISTS"], "--audio belong together"),
        (["--wav_scp", "EXISTS"], "--utt2spk belong together"),
        (["--list"], "st: no such file"),
        (["--remove", "ann"], "st: no such file"),
        (["--name", "ann", "--audio", "nowhere.wav"], r"nowhere\.wav: no such file"),
    ],
)
def test_what_is_missing_is_told_in_one_line(run, an4, words, message):
    given = [an4["cen7-fash-b"] if word == "EXISTS" else word for word in words]
    with pytest.raises(SVError, match=message) as error:
        run(enroll, *given)
    assert "\n" not in str(error.value)
