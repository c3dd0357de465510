import pytest
import soundfile

from espnet2_sv.bin.sv_joint import get_parser, main
from espnet2_sv.errors import SVError


@pytest.fixture
def wav_scp(an4, tmp_path):
    lines = [f"{k} {v}\n" for k, v in an4.items()][:3]
    (tmp_path / "wav.scp").write_text("".join(lines))
    return str(tmp_path / "wav.scp")


def read_text(folder) -> list[str]:
    return [
        line.partition(" ")[2] for line in (folder / "text").read_text().splitlines()
    ]


def test_greedy_is_the_default(zoo, wav_scp, tmp_path, capsys):
    main(
        [
            "--model",
            str(zoo.adaptor()),
            "--wav_scp",
            wav_scp,
            "--output_dir",
            str(tmp_path / "o"),
        ]
    )
    assert "3 recognised, 0 failed, 3 in this run" in capsys.readouterr().out
    assert all(read_text(tmp_path / "o"))
    assert (tmp_path / "o/xvector.scp").exists()


def test_options_override_the_decoding_configuration(zoo, wav_scp, an4, tmp_path):
    config = tmp_path / "decode.yaml"
    config.write_text(
        "batch_size: 1\nbeam_size: 4\nctc_weight: 0.2\nmaxlenratio: 0.1\n"
    )
    command = ["--model", str(zoo.adaptor("attention")), "--wav_scp", wav_scp]
    command += [
        "--output_dir",
        str(tmp_path / "o"),
        "--decode",
        "beam",
        "--ctc_weight",
        "0.7",
    ]
    main([*command, "--decode_config", str(config)])
    stock = zoo.stock("attention", beam_size=4, ctc_weight=0.7, maxlenratio=0.1)
    paths = list(an4.values())[:3]
    assert read_text(tmp_path / "o") == [
        stock(soundfile.read(path)[0])[0][0] for path in paths
    ]


def test_an_asr_model_elsewhere_is_attached(zoo, wav_scp, tmp_path):
    command = ["--model", str(zoo.adaptor()), "--wav_scp", wav_scp]
    command += ["--output_dir", str(tmp_path / "o")]
    with pytest.raises(SVError, match="was trained on the ASR weights"):
        main([*command, "--asr", str(zoo.asr("attention"))])
    main([*command, "--asr", str(zoo.asr())])
    assert (tmp_path / "o/text").exists()


def test_bad_decoding_options_are_refused(zoo, wav_scp, tmp_path, capsys):
    command = ["--model", str(zoo.adaptor()), "--wav_scp", wav_scp]
    command += ["--output_dir", str(tmp_path / "o")]
    with pytest.raises(SVError, match="'beam_size' needs decode beam"):
        main([*command, "--beam_size", "3"])
    (tmp_path / "decode.yaml").write_text("beam: 3\n")
    with pytest.raises(SVError, match="'beam' is unknown"):
        main(
            [
                *command,
                "--decode",
                "beam",
                "--decode_config",
                str(tmp_path / "decode.yaml"),
            ]
        )
    with pytest.raises(SystemExit):
        get_parser().parse_args([*command, "--decode", "fast"])
    assert "greedy" in capsys.readouterr().err
