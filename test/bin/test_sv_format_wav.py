import subprocess
import sys

import pytest

from espnet2_sv.bin.sv_format_wav import main
from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(600)


def test_a_folder_is_formatted_in_several_processes(corpus, tmp_path):
    command = [
        sys.executable,
        "-m",
        "espnet2_sv.bin.sv_format_wav",
        "--data_dir",
        corpus.root,
    ]
    command += ["--output_dir", tmp_path / "dump", "--sample_rate", "8000", "--nj", "2"]
    subprocess.run(command, check=True, capture_output=True)
    sources, wavs = (
        read_two_column(corpus.root / "wav.scp"),
        read_two_column(tmp_path / "dump/wav.scp"),
    )
    assert list(wavs) == list(sources)
    durations = read_two_column(tmp_path / "dump/utt2dur")
    for utt, path in wavs.items():
        assert len(read_audio(path, 8000)) == len(read_audio(sources[utt], 8000))
        assert float(durations[utt]) == pytest.approx(
            len(read_audio(path, 8000)) / 8000, abs=1e-6
        )
    assert (tmp_path / "dump/spk2utt").read_text() == (
        corpus.root / "spk2utt"
    ).read_text()


def test_problems_are_printed_one_per_line(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/wav.scp").write_text("a /gone/a.wav\nb /gone/b.wav\n")
    with pytest.raises(
        SVError, match=rf"^{tmp_path}/data: 2 problem\(s\), listed above$"
    ):
        main(
            [
                "--data_dir",
                f"{tmp_path}/data",
                "--output_dir",
                f"{tmp_path}/dump",
                "--nj",
                "1",
            ]
        )
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "utterance a",
        "utterance b",
    ]
