import os
import pickle

import pytest
import torch

from espnet2_sv.errors import SVError
from espnet2_sv.zoo import checkpoint
from espnet2_sv.zoo.checkpoint import load_config, load_state_dict


class Command:
    """An object that runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("wrapper", [None, "module", "state_dict", "model"])
def test_weights_alone_and_in_what_trainers_wrap_them_in(wrapper, tmp_path):
    state = {"a.weight": torch.arange(3.0), "a.steps": torch.tensor(7)}
    wrapped = state if wrapper is None else {wrapper: state, "epoch": 3}
    torch.save(wrapped, tmp_path / "x.pth")
    loaded = load_state_dict(tmp_path / "x.pth")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    "save", [torch.save, lambda x, f: f.write_bytes(pickle.dumps(x))]
)
def test_other_objects_are_refused_and_do_nothing(save, tmp_path):
    touched = tmp_path / "touched"
    save({"a": torch.zeros(1), "b": Command(touched)}, tmp_path / "x.pth")
    with pytest.raises(SVError, match="refused") as e:
        load_state_dict(tmp_path / "x.pth")
    assert not touched.exists()
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("kept", [0, 10, 500])
def test_truncated_weights(kept, tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "x.pth")
    data = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(data[:kept])
    with pytest.raises(SVError, match=r"x\.pth") as e:
        load_state_dict(tmp_path / "x.pth")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "content", [{}, [torch.zeros(1)], {"epoch": 3}, {3: torch.zeros(1)}]
)
def test_plain_data_that_is_no_model(content, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(SVError, match="no tensors by name"):
        load_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_large_files_are_mapped_where_they_can_be(zipped, tmp_path, monkeypatch):
    mapped = []
    load = torch.load

    def spy(*args, mmap, **options):
        mapped.append(mmap)
        return load(*args, mmap=mmap, **options)

    monkeypatch.setattr(torch, "load", spy)
    monkeypatch.setattr(checkpoint, "MAPPED", 1000)
    weights = {"a": torch.randn(30, 40), "b": torch.arange(5)}
    path = tmp_path / "model.pth"
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    state = load_state_dict(path)
    assert state.keys() == weights.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, weights[name])
    monkeypatch.setattr(checkpoint, "MAPPED", 10**6)
    load_state_dict(path)
    assert mapped == [zipped, False]
    path.write_bytes(path.read_bytes()[:-2000])
    monkeypatch.setattr(checkpoint, "MAPPED", 1000)
    with pytest.raises(SVError, match=r"model\.pth"):
        load_state_dict(path)


def test_missing_files(tmp_path):
    with pytest.raises(SVError, match="no such weights"):
        load_state_dict(tmp_path / "x.pth")
    with pytest.raises(SVError, match="cannot be read"):
        load_config(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    "text", ["a: [", "- a\n- b", "", "!!python/object/apply:os.system [ls]", "a: \x01"]
)
def test_bad_configurations(text, tmp_path):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(SVError, match=r"x\.yaml") as e:
        load_config(tmp_path / "x.yaml")
    assert "\n" not in str(e.value)
