import json

import pytest

from espnet2_sv.bin.sv_layer_probe import main
from espnet2_sv.errors import SVError


def test_table_and_picture_are_written(zoo, corpus, tmp_path, capsys):
    command = ["--wav_scp", f"{corpus.root}/wav.scp", "--trials", corpus.trials]
    command += ["--bootstrap_samples", "0", "--utt2spk", corpus.utt2spk]
    main([*command, "--asr", str(zoo.asr()), "--output_dir", str(tmp_path / "asr")])
    assert capsys.readouterr().out.count("block") == 3
    main(
        [
            *command,
            "--model",
            str(zoo.adaptor()),
            "--output_dir",
            str(tmp_path / "adaptor"),
        ]
    )
    assert "adaptor of block 3" in capsys.readouterr().out
    for folder in ("asr", "adaptor"):
        assert json.loads((tmp_path / folder / "layer_probe.json").read_text())[
            "layers"
        ]
        assert (tmp_path / folder / "layer_probe.png").exists()


def test_a_model_is_needed(corpus, tmp_path):
    command = ["--wav_scp", f"{corpus.root}/wav.scp", "--trials", corpus.trials]
    with pytest.raises(SVError, match="give a model"):
        main([*command, "--output_dir", str(tmp_path)])
