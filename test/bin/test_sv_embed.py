import json

import numpy as np
import pytest
from kaldi_reference import kaldiio

from espnet2_sv.bin import options
from espnet2_sv.bin.sv_embed import get_parser, main
from espnet2_sv.errors import SVError
from espnet2_sv.inference import embedder
from espnet2_sv.inference.description import describe


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


def test_options_of_the_command_line_arrive(
    speaker_exp, wav_scp, an4, tmp_path, capsys
):
    with open(wav_scp, "a", encoding="utf-8") as stream:
        stream.write("z-bad nowhere.wav\n")
    command = ["--model", str(speaker_exp), "--wav_scp", wav_scp]
    command += [
        "--output_dir",
        str(tmp_path / "emb"),
        "--num_workers",
        "1",
        "--shard_size",
        "3",
    ]
    with pytest.raises(SVError, match="z-bad"):
        main(command)
    main([*command, "--skip_bad", "true"])
    assert "8 embedded, 1 failed, 3 in this run" in capsys.readouterr().out
    assert (tmp_path / "emb" / "failed").read_text().startswith("z-bad nowhere.wav")
    main([*command, "--skip_bad", "true", "--resume", "false", "--shard", "2/2"])
    assert not (tmp_path / "emb" / "xvector.scp").exists()


def test_several_lists_are_embedded_by_one_model(
    speaker_exp, wav_scp, an4, tmp_path, capsys, monkeypatch
):
    loaded = []
    load = embedder.EmbeddingExtractor.load
    monkeypatch.setattr(
        embedder.EmbeddingExtractor,
        "load",
        lambda *args: loaded.append(1) or load(*args),
    )
    few = tmp_path / "few.scp"
    few.write_text("".join(f"{k}-again {v}\n" for k, v in list(an4.items())[:3]))
    folders = [str(tmp_path / "all"), str(tmp_path / "few")]
    command = ["--model", str(speaker_exp), "--wav_scp", wav_scp, str(few)]
    command += ["--output_dir", *folders, "--system", str(tmp_path / "system.json")]
    main(command)
    assert loaded == [1]
    assert (
        "8 embedded, 0 failed, 8 in this run\n3 embedded, 0 failed, 3"
        in capsys.readouterr().out
    )
    everything, some = (kaldiio.load_scp(f"{folder}/xvector.scp") for folder in folders)
    assert list(some) == [f"{name}-again" for name in list(an4)[:3]]
    for name, vector in some.items():
        np.testing.assert_allclose(vector, everything[name[:-6]], atol=1e-5)
    assert json.loads((tmp_path / "system.json").read_text()) == describe(speaker_exp)
    with pytest.raises(SVError, match="give one for each of the 2"):
        main([*command[:5], "--output_dir", folders[0]])
    with pytest.raises(SVError, match="all: is given for two lists"):
        main([*command[:5], "--output_dir", folders[0], folders[0]])


@pytest.fixture
def parsed(tmp_path):
    """Return a function that parses a command line with a --config of this content."""

    def parse(content: str, *more: str) -> dict:
        (tmp_path / "embed.yaml").write_text(content)
        command = ["--model", "m", "--wav_scp", "a", "b", "--output_dir", "o", "p"]
        command += ["--config", f"{tmp_path}/embed.yaml", *more]
        return vars(options.parse_with_config(get_parser(), command))

    return parse


def test_a_file_of_options_is_as_the_same_options_on_the_command_line(parsed):
    content = "dtype: bfloat16\nmax_seconds: 60\nskip_bad: yes\nchannel:\nnj: 3\n"
    plain = parsed("nj: 1") | {"dtype": "bfloat16", "max_seconds": 60.0, "nj": 3}
    assert parsed(content) == plain | {"skip_bad": True}
    # the command line overrides it
    words = ["--dtype", "float32", "--nj=1", "--skip_bad", "false"]
    assert parsed(content, *words) == plain | {"dtype": "float32", "nj": 1}
    lists = parsed("wav_scp: [x, y]\nmodel_file: -w.pth\n")
    assert (lists["wav_scp"], lists["model_file"]) == (["a", "b"], "-w.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("valid_batch_size: 5", "valid_batch_size is no option of .*; --help lists"),
        ("help: true", "help is no option"),
        ("config: other.yaml", "config is no option"),
        ("1: 2", "1 is no option"),
        ("dtype: int8", "dtype: 'int8': choose one of float32, float16, bfloat16"),
        ("num_workers: 0", "num_workers: '0': 0 is less than 1"),
        ("num_workers: [1, 2]", "num_workers: a list is given; it takes one value"),
        ("max_seconds: {a: 1}", "max_seconds: "),
        ("model_file: {a: 1}", "model_file: .*is not a single value"),
        ("skip_bad: maybe", "skip_bad: 'maybe'"),
        ("- dtype", "holds no options"),
        ("", "holds no options"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_is_wrong_in_a_file_of_options_is_named(parsed, content, message):
    with pytest.raises(SVError, match=rf"embed\.yaml: {message}"):
        parsed(content)


def test_no_file_of_options_is_ignored(parsed, capsys):
    with pytest.raises(SVError, match=r"nowhere\.yaml"):
        parsed("nj: 1", "--config", "nowhere.yaml")
    with pytest.raises(SystemExit):
        parsed("nj: 1", "--conf", "nowhere.yaml")
    assert "write --config in full" in capsys.readouterr().err


def test_unknown_options_are_refused(capsys):
    with pytest.raises(SystemExit):
        get_parser().parse_args(
            ["--model", "m", "--wav_scp", "w", "--output_dir", "o", "--skipbad"]
        )
    assert "skipbad" in capsys.readouterr().err
