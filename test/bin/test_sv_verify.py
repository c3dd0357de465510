import json
import shutil

import pytest

from espnet2_sv import SpeakerVerifier
from espnet2_sv.bin.sv_verify import main
from espnet2_sv.errors import SVError


def verify(capsys, *command) -> dict:
    main([str(c) for c in command])
    return json.loads(capsys.readouterr().out)


def test_one_json_object_is_printed(speaker_exp, an4, capsys):
    a, b, c = (an4[name] for name in ("an251-fash-b", "an253-fash-b", "cen8-fcaw-b"))
    result = verify(capsys, "--model", speaker_exp, "--enroll", a, b, "--test", c)
    expected = SpeakerVerifier.from_pretrained(speaker_exp).verify([a, b], c)
    assert result == expected
    assert result["llr"] is result["decision"] is result["threshold"] is None


def test_a_threshold_gives_a_decision(speaker_exp, an4, capsys):
    a = an4["an251-fash-b"]
    command = ("--model", speaker_exp, "--enroll", a, "--test", a, "--threshold", 0.9)
    result = verify(capsys, *command)
    assert (result["decision"], result["threshold"]) == (True, 0.9)


def test_the_packed_threshold_decides(speaker_exp, an4, capsys, tmp_path, home):
    exp = shutil.copytree(speaker_exp, tmp_path / "exp")
    (exp / "threshold.json").write_text('{"cosine": 1.5}')
    from espnet2_sv.bin.sv_pack import main as pack

    pack(["--exp", str(exp), "--output", str(tmp_path / "model.zip")])
    capsys.readouterr()
    a = an4["an251-fash-b"]
    result = verify(
        capsys, "--model", tmp_path / "model.zip", "--enroll", a, "--test", a
    )
    assert (result["decision"], result["threshold"]) == (False, 1.5)


def test_a_missing_recording_is_named(speaker_exp, an4):
    with pytest.raises(SVError, match=r"nowhere\.wav"):
        main(
            [
                "--model",
                str(speaker_exp),
                "--enroll",
                "nowhere.wav",
                "--test",
                str(an4["an251-fash-b"]),
            ]
        )
