"""A resolved model serves this project and ESPnet's own tools alike."""

import contextlib
import os
import shutil

import numpy as np
import pytest
import torch
import yaml

from espnet2.tasks.asr import ASRTask
from espnet2_sv.asr import load_asr_bundle, resolve, resolve_asr
from espnet2_sv.errors import SVError

FILES = [
    "config.yaml",
    "feats_stats.npz",
    "meta.yaml",
    "model.pth",
    "source.json",
    "tokens.txt",
]


def encode(model, speech):
    with torch.no_grad():
        output, _ = model.encode(*(x.clone() for x in speech))
    return output[0] if isinstance(output, tuple) else output


def contents(folder):
    return sorted(os.listdir(folder))


@pytest.fixture(params=["zip", "zip with statistics", "unpacked", "exp"])
def source(request, train_asr, tmp_path):
    """The same model in every form, and the model itself."""
    trained = train_asr("librispeech_conformer_hop160")
    if request.param == "exp":
        return trained.exp, trained
    packed = trained.pack(with_stats="statistics" in request.param)
    if request.param != "unpacked":
        return packed, trained
    shutil.unpack_archive(packed, tmp_path / "unpacked")
    return tmp_path / "unpacked", trained


def test_any_source_gives_the_same_folder(source, tmp_path, speech):
    path, trained = source
    summary = resolve_asr(path, tmp_path / "asr")
    assert contents(tmp_path / "asr") == sorted([*FILES, "bpe.model"])
    bundle = load_asr_bundle(tmp_path / "asr")
    assert bundle.summary() == summary
    assert torch.equal(encode(bundle.model, speech), encode(trained.stock, speech))
    assert (tmp_path / "asr" / "tokens.txt").read_text().split("\n")[
        :-1
    ] == bundle.args.token_list
    assert (tmp_path / "asr" / "bpe.model").read_bytes() == b"a sentencepiece model"


@pytest.mark.parametrize(
    "name", ["aishell_conformer", "librispeech_100_conformer_scctc"]
)
@pytest.mark.parametrize("outdir", ["exp/asr_pretrained", "{tmp}/elsewhere"])
def test_stock_espnet_loads_it(name, outdir, train_asr, tmp_path, speech):
    trained = train_asr(name)
    packed = trained.pack()
    outdir = outdir.format(tmp=tmp_path)
    (tmp_path / "new_recipe").mkdir()
    with contextlib.chdir(tmp_path / "new_recipe"):
        resolve_asr(packed, outdir)
        shutil.rmtree(trained.root)
        stock, args = ASRTask.build_model_from_file(
            f"{outdir}/config.yaml", f"{outdir}/model.pth"
        )
        assert args.bpemodel is None or os.path.isfile(args.bpemodel)
    assert torch.equal(encode(stock.eval(), speech), encode(trained.stock, speech))


def test_statistics_are_those_of_the_checkpoint(train_asr, tmp_path):
    trained = train_asr("aishell_conformer")
    resolve_asr(trained.pack(), tmp_path / "asr")
    original = np.load(trained.root / "exp" / "stats" / "feats_stats.npz")
    stats = np.load(tmp_path / "asr" / "feats_stats.npz")
    for key in ("sum", "sum_square"):
        np.testing.assert_allclose(
            stats[key] / stats["count"], original[key] / 10, rtol=1e-5
        )


def test_folder_may_be_moved(train_asr, tmp_path, speech):
    trained = train_asr("librispeech_conformer_hop160")
    resolve_asr(trained.exp, tmp_path / "asr")
    shutil.rmtree(trained.root)
    shutil.move(tmp_path / "asr", tmp_path / "moved")
    bundle = load_asr_bundle(tmp_path / "moved")
    assert torch.equal(encode(bundle.model, speech), encode(trained.stock, speech))
    assert bundle.args.bpemodel == str(tmp_path / "moved" / "bpe.model")


def test_old_names_are_written_as_new_ones(train_asr, small_conformer, tmp_path):
    trained = train_asr(small_conformer())
    state = trained.stock.state_dict()
    old = {k.replace("embed.out.", "embed.out.0."): v for k, v in state.items()}
    trained.save_weights(old)
    resolve_asr(trained.exp, tmp_path / "asr")
    assert (
        torch.load(tmp_path / "asr" / "model.pth", weights_only=True).keys()
        == state.keys()
    )


def test_second_call_does_nothing(source, tmp_path, monkeypatch):
    path, _ = source
    first = resolve_asr(path, tmp_path / "asr")
    written = (tmp_path / "asr" / "model.pth").stat()
    monkeypatch.setattr(
        "espnet2_sv.asr.bundle.load_asr_bundle", lambda *a: pytest.fail("loaded")
    )
    assert resolve_asr(path, tmp_path / "asr") == first
    assert (tmp_path / "asr" / "model.pth").stat().st_ino == written.st_ino


def test_tag_is_fetched_once(train_asr, tmp_path, monkeypatch):
    packed = train_asr("aishell_conformer").pack()
    fetched = []
    monkeypatch.setattr(
        "espnet2_sv.zoo.files.download", lambda tag: (fetched.append(tag), packed)[1]
    )
    for _ in range(2):
        resolve_asr("kamo-naoyuki/aishell_conformer", tmp_path / "asr")
    assert fetched == ["kamo-naoyuki/aishell_conformer"]
    assert contents(tmp_path / "asr") == FILES


def test_changed_source_is_resolved_again(train_asr, small_conformer, tmp_path):
    trained = train_asr(small_conformer())
    resolve_asr(trained.exp, tmp_path / "asr")
    before = load_asr_bundle(tmp_path / "asr").weights_sha256
    state = trained.stock.state_dict()
    state["encoder.after_norm.bias"] += 1
    trained.save_weights(state)
    resolve_asr(trained.exp, tmp_path / "asr")
    assert load_asr_bundle(tmp_path / "asr").weights_sha256 != before
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_folder_of_something_else_is_left_alone(train_asr, small_conformer, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(SVError, match="holds something else"):
        resolve_asr(train_asr(small_conformer()).exp, tmp_path / "mine")
    assert contents(tmp_path / "mine") == ["thesis.txt"]


def test_failure_leaves_what_was_there(train_asr, small_conformer, tmp_path):
    trained = train_asr(small_conformer())
    resolve_asr(trained.exp, tmp_path / "asr")
    before = contents(tmp_path)
    trained.save_weights(
        {**trained.stock.state_dict(), "encoder.extra": torch.zeros(1)}
    )
    with pytest.raises(SVError, match="do not fit"):
        resolve_asr(trained.exp, tmp_path / "asr")
    assert contents(tmp_path) == before
    load_asr_bundle(tmp_path / "asr")


def test_killed_call_leaves_nothing_half_made(
    train_asr, small_conformer, tmp_path, monkeypatch
):
    trained = train_asr(small_conformer())

    def killed(bundle, part, outdir):
        (part / "config.yaml").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as m, pytest.raises(KeyboardInterrupt):
        m.setattr(resolve, "write_model", killed)
        resolve_asr(trained.exp, tmp_path / "asr")
    assert not (tmp_path / "asr").exists()
    resolve_asr(trained.exp, tmp_path / "asr")
    load_asr_bundle(tmp_path / "asr")


def repack(trained, folder, **settings):
    """The unpacked model, with other settings."""
    shutil.unpack_archive(trained.pack(), folder)
    config = next(folder.rglob("config.yaml"))
    conf = {**yaml.safe_load(config.read_text()), **settings}
    config.write_text(yaml.safe_dump(conf))
    return folder


def test_a_path_that_leads_out_of_the_package_is_refused(train_asr, tmp_path):
    trained = train_asr("librispeech_conformer_hop160")
    package = repack(trained, tmp_path / "unpacked", bpemodel="../secret.model")
    (tmp_path / "secret.model").write_text("secret")
    with pytest.raises(SVError, match="bpemodel"):
        resolve_asr(package, tmp_path / "asr")
    assert not (tmp_path / "asr").exists()


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("key", ["bpemodel", "non_linguistic_symbols"])
def test_an_absolute_path_of_training_is_never_read(key, there, train_asr, tmp_path):
    """Published configurations hold such paths, whose files are not needed."""
    trained = train_asr("librispeech_conformer_hop160")
    secret = tmp_path / "secret.model"
    if there:
        secret.write_text("secret")
    package = repack(trained, tmp_path / "unpacked", **{key: str(secret)})
    resolve_asr(package, tmp_path / "asr")
    for file in (tmp_path / "asr").iterdir():
        assert b"secret" not in file.read_bytes().replace(b"secret.model", b"")


def test_symbols_may_be_a_list(train_asr, tmp_path):
    trained = train_asr("librispeech_conformer_hop160")
    symbols = ["<noise>", "<laugh>"]
    package = repack(trained, tmp_path / "unpacked", non_linguistic_symbols=symbols)
    resolve_asr(package, tmp_path / "asr")
    resolved = yaml.safe_load((tmp_path / "asr" / "config.yaml").read_text())
    assert resolved["non_linguistic_symbols"] == symbols


def test_missing_bpe_model_is_told(train_asr, tmp_path, caplog):
    trained = train_asr("librispeech_conformer_hop160")
    (trained.root / trained.conf["bpemodel"]).unlink()
    resolve_asr(trained.exp, tmp_path / "asr")
    assert "text cannot be decoded" in caplog.text
