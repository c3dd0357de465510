import json

import pytest

from espnet2_sv.bin.sv_describe import main
from espnet2_sv.errors import SVError
from espnet2_sv.inference.description import describe


def test_a_stored_description_is_reused(speaker_exp, tmp_path):
    for name, text in (("ref", "a ONE\n"), ("alone", "a ONE\n"), ("joint", "a OXE\n")):
        (tmp_path / name).write_text(text)
    texts = ["--text", tmp_path / "ref", "--text_asr_alone", tmp_path / "alone"]
    texts += ["--text_joint", tmp_path / "joint"]
    found = []
    for number, source in enumerate(
        (["--model", speaker_exp], ["--system", tmp_path / "0.json"])
    ):
        output = tmp_path / f"{number}.json"
        main([str(word) for word in (*source, "--output", output, *texts)])
        found.append(json.loads(output.read_text()))
    assert found[0] == found[1]
    assert found[0] == describe(speaker_exp) | {
        "cer_asr_alone": 0.0,
        "cer_joint": pytest.approx(100 / 3),
    }


def test_a_missing_description_is_named(tmp_path):
    with pytest.raises(SVError, match=r"nowhere\.json: is missing"):
        main(
            [
                "--system",
                str(tmp_path / "nowhere.json"),
                "--output",
                str(tmp_path / "o"),
            ]
        )
