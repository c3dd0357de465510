import kaldiio
import pytest

from espnet2_sv.bin.sv_embed import get_parser, main
from espnet2_sv.errors import SVError


@pytest.fixture
def wav_scp(an4, tmp_path):
    (tmp_path / "wav.scp").write_text("".join(f"{k} {v}\n" for k, v in an4.items()))
    return str(tmp_path / "wav.scp")


def test_every_utterance_gets_a_vector(speaker_exp, wav_scp, an4, tmp_path, capsys):
    out = str(tmp_path / "emb")
    main(["--model", str(speaker_exp), "--wav_scp", wav_scp, "--output_dir", out])
    vectors = kaldiio.load_scp(f"{out}/xvector.scp")
    assert list(vectors) == list(an4)
    assert all(vector.shape == (8,) for vector in vectors.values())
    assert "8 embedded, 0 failed" in capsys.readouterr().out


def test_options_of_the_command_line_arrive(speaker_exp, wav_scp, an4, tmp_path, capsys):
    with open(wav_scp, "a", encoding="utf-8") as stream:
        stream.write("z-bad nowhere.wav\n")
    command = ["--model", str(speaker_exp), "--wav_scp", wav_scp]
    command += ["--output_dir", str(tmp_path / "emb"), "--num_workers", "1", "--shard_size", "3"]
    with pytest.raises(SVError, match="z-bad"):
        main(command)
    main([*command, "--skip_bad", "true"])
    assert "8 embedded, 1 failed, 3 in this run" in capsys.readouterr().out
    assert (tmp_path / "emb" / "failed").read_text().startswith("z-bad nowhere.wav")
    main([*command, "--skip_bad", "true", "--resume", "false", "--shard", "2/2"])
    assert not (tmp_path / "emb" / "xvector.scp").exists()


def test_unknown_options_are_refused(capsys):
    with pytest.raises(SystemExit):
        get_parser().parse_args(
            ["--model", "m", "--wav_scp", "w", "--output_dir", "o", "--skipbad"]
        )
    assert "skipbad" in capsys.readouterr().err
