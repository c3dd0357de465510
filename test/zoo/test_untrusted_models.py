"""Whatever a model's files hold, they load or are refused in one line."""

import copy
import shutil

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stock_speakers import make_stock_exp

from espnet2_sv.errors import SVError
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.models.stock_model import load_embedding_model
from espnet2_sv.packaging.pack import pack_model
from espnet2_sv.zoo.checkpoint import load_config, load_state_dict, load_strictly
from espnet2_sv.zoo.source import SpeakerSource

pytestmark = pytest.mark.execution_timeout(200)

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\0", "a" * 5000, "/etc/passwd", "../x", "2024-13-45"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)
FUZZED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def stock_exp(tmp_path_factory):
    """A model of ESPnet's own speaker task."""
    return make_stock_exp(tmp_path_factory.mktemp("stock") / "exp", "xvector")


def one_line(action):
    """Run; an error of the project is one line, and there is no other error."""
    try:
        action()
    except SVError as e:
        assert "\n" not in str(e)


@FUZZED
@given(data=st.data())
def test_a_setting_of_another_kind(data, speaker_exp, tmp_path_factory):
    conf = yaml.safe_load((speaker_exp / "config.yaml").read_text())
    used = ["sv_task", "encoder", "encoder_conf", "frontend", "frontend_conf", "head"]
    used += ["head_conf", "loss", "loss_conf", "normalize", "normalize_conf", "asr"]
    used += ["specaug", "specaug_conf", "sample_rate", "spk_num", "conditioning_vocab"]
    changed, key = copy.deepcopy(conf), data.draw(st.sampled_from(used))
    inner = sorted(conf.get(key) or []) if isinstance(conf.get(key), dict) else []
    if data.draw(st.booleans()):
        changed.pop(key, None)
    elif inner and data.draw(st.booleans()):
        changed[key][data.draw(st.sampled_from(inner))] = data.draw(ODD)
    else:
        changed[key] = data.draw(ODD)
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.yaml").write_text(yaml.safe_dump(changed))
    shutil.copy(speaker_exp / "valid.eer.best.pth", folder)
    one_line(lambda: load_speaker_model(folder))


@FUZZED
@given(data=st.data())
def test_a_setting_of_another_kind_in_a_model_of_espnet(data, stock_exp, tmp_path):
    conf = yaml.safe_load((stock_exp / "config.yaml").read_text())
    used = ["frontend", "frontend_conf", "encoder", "encoder_conf", "pooling"]
    used += ["pooling_conf", "projector", "projector_conf", "normalize", "spk_num"]
    used += ["normalize_conf", "freeze_param", "sample_rate", "preprocessor_conf"]
    key = data.draw(st.sampled_from(used))
    inner = sorted(conf.get(key) or []) if isinstance(conf.get(key), dict) else []
    if inner and data.draw(st.booleans()):
        conf[key][data.draw(st.sampled_from(inner))] = data.draw(ODD)
    else:
        conf[key] = data.draw(ODD)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(conf))
    shutil.copy(stock_exp / "valid.eer.best.pth", tmp_path)
    one_line(lambda: load_embedding_model(tmp_path))


@FUZZED
@given(data=st.data())
def test_a_meta_of_another_kind(data, speaker_exp, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    pack_model(speaker_exp, folder / "model.zip")
    shutil.unpack_archive(folder / "model.zip", folder / "model")
    meta = yaml.safe_load((folder / "model" / "meta.yaml").read_text())
    section = data.draw(st.sampled_from(["files", "yaml_files", "espnet2_sv"]))
    if data.draw(st.booleans()):
        meta[section] = data.draw(ODD)
    else:
        for key in meta[section]:
            meta[section][key] = data.draw(ODD)
    (folder / "model" / "meta.yaml").write_text(yaml.safe_dump(meta))
    one_line(lambda: SpeakerSource.resolve(folder / "model"))


@pytest.mark.parametrize(
    "text",
    [
        "a: !!int ''",
        "a: 2024-13-45",
        "a: 2024-02-31T99:99:99Z",
        f"a: {'9' * 5000}",
        "a: !!float x",
        "3: x",
        "? [a, b]\n: c",
        "encoder_conf: [1]",
        "head_conf: text",
        "a: &a [*a]",
        "a: !!python/object/apply:os.system ['true']",
        "- a",
        "a: [" * 3000,
        "\0",
    ],
)
def test_odd_yaml(text, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(SVError, match=r"config\.yaml") as e:
        load_config(tmp_path / "config.yaml")
    assert "\n" not in str(e.value)


def test_aliases_that_multiply(tmp_path):
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(SVError, match="config"):
        load_config(tmp_path / "config.yaml")


def test_aliases_that_are_shared_settings(tmp_path):
    (tmp_path / "config.yaml").write_text("a: &a {x: 1}\nb: *a\n")
    assert load_config(tmp_path / "config.yaml") == {"a": {"x": 1}, "b": {"x": 1}}


def test_a_model_of_a_million_blocks_is_refused_before_it_is_built(
    speaker_exp, tmp_path
):
    exp = shutil.copytree(speaker_exp, tmp_path / "exp")
    conf = yaml.safe_load((exp / "config.yaml").read_text())
    conf["encoder_conf"]["num_blocks"] = 1_000_000
    (exp / "config.yaml").write_text(yaml.safe_dump(conf))
    with pytest.raises(SVError, match="num_blocks 1000000"):
        load_speaker_model(exp)


@pytest.mark.parametrize(
    "odd",
    [
        lambda: torch.zeros(3, 3).to_sparse(),
        lambda: torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
        lambda: torch.zeros(3, device="meta"),
    ],
    ids=["sparse", "quantized", "meta"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_not_dense_are_refused(odd, tmp_path):
    torch.save({"a": torch.zeros(1), "odd": odd()}, tmp_path / "x.pth")
    with pytest.raises(SVError, match="odd is a sparse, quantized or empty tensor"):
        load_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool])
def test_numbers_of_another_kind_are_not_cast(dtype):
    model = torch.nn.Linear(2, 2)
    state = {name: x.detach().to(dtype) for name, x in model.state_dict().items()}
    with pytest.raises(SVError, match=f"weight is of {str(dtype)[6:]}"):
        load_strictly(model, state)


def test_half_precision_is_loaded():
    model = torch.nn.Linear(2, 2)
    load_strictly(model, {name: x.half() for name, x in model.state_dict().items()})


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_weights(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "x.pth"
    torch.save({"a": torch.arange(20.0), "b": torch.zeros(2, 2)}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    one_line(lambda: load_state_dict(path))
