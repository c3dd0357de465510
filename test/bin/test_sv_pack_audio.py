import subprocess
import sys

import numpy as np
import pytest

from espnet2_sv.bin.sv_pack_audio import main
from espnet2_sv.data.audio import read_audio
from espnet2_sv.data.kaldi import read_two_column
from espnet2_sv.errors import SVError

pytestmark = pytest.mark.execution_timeout(600)


def test_a_folder_is_packed_in_several_processes(corpus, tmp_path):
    command = [
        sys.executable,
        "-m",
        "espnet2_sv.bin.sv_pack_audio",
        "--data_dir",
        corpus.root,
    ]
    command += [
        "--output_dir",
        tmp_path / "packed",
        "--shard_bytes",
        "100000",
        "--nj",
        "2",
    ]
    subprocess.run([*command, "--shuffle", "true"], check=True, capture_output=True)
    sources = read_two_column(corpus.root / "wav.scp")
    packed = read_two_column(tmp_path / "packed/wav.scp")
    assert list(packed) == list(sources)
    for utt, entry in packed.items():
        assert np.array_equal(read_audio(entry), read_audio(sources[utt]))


def test_a_missing_recording_is_one_line(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/wav.scp").write_text("a /gone/a.wav\n")
    with pytest.raises(
        SVError, match=r"wav\.scp: utterance a: /gone/a\.wav: cannot be read"
    ):
        main(["--data_dir", f"{tmp_path}/data", "--output_dir", f"{tmp_path}/packed"])
