import shutil

import pytest
import torch
import yaml

from espnet2_sv.errors import SVError
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.packaging.pack import pack_model
from espnet2_sv.zoo.source import SpeakerSource


def test_every_source_gives_the_same_model(speaker_exp, tmp_path, home):
    archive, unpacked = tmp_path / "model.zip", tmp_path / "unpacked"
    pack_model(speaker_exp, archive)
    shutil.unpack_archive(archive, unpacked)
    expected = load_speaker_model(speaker_exp)[0].state_dict()
    for source in (str(archive), unpacked):
        model, args = load_speaker_model(source)
        assert not model.training
        assert args.sv_task == "scratch"
        state = model.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_weights_must_match_completely(speaker_exp, tmp_path):
    state = torch.load(speaker_exp / "valid.eer.best.pth", weights_only=True)
    dropped = next(name for name in state if name.startswith("head."))
    del state[dropped]
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(SVError, match=dropped):
        load_speaker_model(SpeakerSource.resolve(speaker_exp, tmp_path / "weights.pth"))


def test_a_config_without_sv_task_is_rejected(speaker_exp, tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"encoder": "conformer"}))
    with pytest.raises(SVError, match="sv_task"):
        SpeakerSource.from_files(
            tmp_path / "config.yaml", speaker_exp / "valid.eer.best.pth"
        )


def test_a_missing_file_is_named(speaker_exp):
    with pytest.raises(SVError, match=r"nowhere\.pth"):
        SpeakerSource.from_files(
            speaker_exp / "config.yaml", speaker_exp / "nowhere.pth"
        )


@pytest.mark.parametrize("device", ["cuda:99", "tpu9", "mps", "meta"])
def test_an_unavailable_device_is_rejected(speaker_exp, device):
    with pytest.raises(SVError, match=device):
        load_speaker_model(speaker_exp, device)
