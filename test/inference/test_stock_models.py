"""Speaker models of ESPnet's own task are embedded as ESPnet does, in exact batches."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from kaldi_reference import kaldiio
from stock_speakers import MODELS, WAVLM, WAVLM_URL, make_stock_exp, write_wavlm

from espnet2.bin.pack import main as pack
from espnet2.bin.spk_inference import Speech2Embedding as Stock
from espnet2_sv import SpeakerVerifier, Speech2Embedding
from espnet2_sv.data.audio import read_audio
from espnet2_sv.errors import SVError
from espnet2_sv.inference.description import describe
from espnet2_sv.inference.embedder import embed_wav_scp
from espnet2_sv.inference.layer_probe import LayerExtractor
from espnet2_sv.inference.speech2text_embedding import Speech2TextEmbedding
from espnet2_sv.models.fine_tuning import find_initial_model
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.packaging.pack import pack_model


@pytest.fixture(scope="module")
def ecapa(tmp_path_factory):
    return make_stock_exp(tmp_path_factory.mktemp("stock") / "exp/spk_ecapa", "ecapa")


@pytest.fixture
def broken(ecapa, tmp_path):
    """A function that copies the model with other settings or weights."""

    def make(settings=None, weights=None):
        copied = tmp_path / "broken"
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(ecapa, copied)
        conf = yaml.safe_load((copied / "config.yaml").read_text())
        for key, value in (settings or {}).items():
            merged = isinstance(value, dict) and isinstance(conf.get(key), dict)
            conf[key] = conf[key] | value if merged else value
        (copied / "config.yaml").write_text(yaml.safe_dump(conf))
        if weights is not None:
            state = torch.load(copied / "valid.eer.best.pth")
            torch.save(weights(state), copied / "valid.eer.best.pth")
        return copied

    return make


def cosine(a: np.ndarray | torch.Tensor, b: np.ndarray | torch.Tensor) -> float:
    a, b = (np.asarray(x, np.float64).ravel() for x in (a, b))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("name", MODELS)
def test_an_embedding_is_that_of_stock_espnet(name, tmp_path, an4, corpus):
    if name == "rawnet3":
        pytest.importorskip("asteroid_filterbanks", reason="espnet[spk] is missing")
    exp = make_stock_exp(tmp_path / name, name)
    stock = Stock(str(exp / "config.yaml"), str(exp / "valid.eer.best.pth"))
    if name == "mean_of_normalised":  # published without it
        (exp / "feats_stats.npz").unlink()
    speech2embedding = Speech2Embedding.from_pretrained(exp)
    for path in list(an4.values())[:2]:
        speech = read_audio(str(path), 16000)
        expected = stock(speech)
        found = speech2embedding(speech)
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    # in a list, with others of all lengths
    embed_wav_scp(exp, corpus.root / "wav.scp", tmp_path / "out", nj=1)
    found = kaldiio.load_scp(str(tmp_path / "out" / "xvector.scp"))
    for line in (corpus.root / "wav.scp").read_text().splitlines():
        utterance, path = line.split()
        expected = stock(read_audio(path, 16000))[0]
        torch.testing.assert_close(
            torch.tensor(found[utterance]), expected, atol=1e-4, rtol=1e-4
        )


@pytest.mark.filterwarnings("ignore")  # of s3prl and what it imports
def test_a_wavlm_front_end_is_that_of_stock_espnet(tmp_path, monkeypatch):
    pytest.importorskip("s3prl.nn", exc_type=ImportError)
    from s3prl.util import download

    monkeypatch.setattr(download, "_download_dir", tmp_path / "cache")
    write_wavlm(Path(download.urls_to_filepaths(WAVLM_URL, download=False)))
    exp = make_stock_exp(tmp_path / "exp", "ecapa", **WAVLM)
    state = torch.load(exp / "valid.eer.best.pth")
    for name, x in state.items():  # fine-tuned: other weights than the upstream's
        if name.startswith("frontend.") and x.is_floating_point():
            state[name] = x + 0.01 * torch.randn_like(x)
    torch.save(state, exp / "valid.eer.best.pth")
    stock = Stock(str(exp / "config.yaml"), str(exp / "valid.eer.best.pth"))
    rng = np.random.default_rng(0)
    waves = [0.1 * rng.standard_normal(n) for n in (16000, 20000, 16000, 9000)]
    waves = [x.astype(np.float32) for x in waves]
    expected = torch.cat([stock(x) for x in waves])
    new, old = "frontend.upstream.upstream.model.", "frontend.upstream.model."
    for rename in (False, True):  # what earlier releases of ESPnet saved
        if rename:
            renamed = {name.replace(new, old): x for name, x in state.items()}
            torch.save(renamed, exp / "valid.eer.best.pth")
        found = Speech2Embedding.from_pretrained(exp).embedder(waves)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert 0 < describe(exp)["trained_parameters"] < describe(exp)["parameters"]


def test_only_equal_lengths_share_a_batch(ecapa):
    embedder = Speech2Embedding.from_pretrained(ecapa).embedder
    seen = []
    embed = embedder.model.embed
    embedder.model.embed = lambda x, n: seen.append(tuple(x.shape)) or embed(x, n)
    embedder._cores = lambda: 1
    rng = np.random.default_rng(0)
    waves = [0.1 * rng.standard_normal(n) for n in (9000, 9000, 9001, 9000, 12000)]
    together = embedder(waves)
    assert sorted(seen) == [(1, 9001), (1, 12000), (3, 9000)]
    torch.testing.assert_close(
        together, torch.cat([embedder([x]) for x in waves]), atol=1e-5, rtol=1e-5
    )


def test_an_archive_of_espnet_s_pack_is_a_source(ecapa, tmp_path, an4, monkeypatch):
    shutil.copytree(ecapa, tmp_path / "exp/spk_ecapa")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = ["--train_config", "exp/spk_ecapa/config.yaml"]
    files += ["--model_file", "exp/spk_ecapa/valid.eer.best.pth"]
    pack(["spk", *files, "--outpath", "packed.zip"])
    verifier = SpeakerVerifier.from_pretrained("packed.zip")
    a, b = (str(path) for path in list(an4.values())[:2])
    answer = verifier.verify(a, b)
    stock = Stock("exp/spk_ecapa/config.yaml", "exp/spk_ecapa/valid.eer.best.pth")
    expected = cosine(*(stock(read_audio(x, 16000)) for x in (a, b)))
    assert answer["score"] == pytest.approx(expected, abs=1e-5)
    assert answer["decision"] is None and answer["llr"] is None
    verifier = SpeakerVerifier.from_pretrained("packed.zip", threshold=-1.0)
    assert verifier.verify(a, b)["decision"] is True


def test_size_and_cost_are_counted_without_the_training_classes(ecapa):
    network = Stock(
        str(ecapa / "config.yaml"), str(ecapa / "valid.eer.best.pth")
    ).spk_model
    inference = sum(
        p.numel() for n, p in network.named_parameters() if not n.startswith("loss.")
    )
    system = describe(ecapa)
    assert system["parameters"] == system["trained_parameters"] == inference
    assert system["gmac_per_second"] > 0


def test_frozen_parameters_do_not_count_as_trained(broken):
    system = describe(broken({"freeze_param": ["encoder.layer1", "encoder.conv"]}))
    assert 0 < system["trained_parameters"] < system["parameters"]


def test_a_long_recording_is_embedded_in_pieces(ecapa):
    speech = 0.1 * np.random.default_rng(0).standard_normal(50000)
    whole = Speech2Embedding.from_pretrained(ecapa, max_seconds=1.0)(speech)
    pieces = [
        Speech2Embedding.from_pretrained(ecapa)(x) for x in np.array_split(speech, 4)
    ]
    mean = sum(x / x.norm() for x in pieces)
    assert cosine(whole, mean) == pytest.approx(1, abs=1e-5)


def test_speech_that_is_too_short_is_refused(ecapa):
    with pytest.raises(SVError, match="too short") as error:
        Speech2Embedding.from_pretrained(ecapa)(np.full(40, 0.1))
    assert "\n" not in str(error.value)


def refusal(action) -> str:
    with pytest.raises(SVError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_needs_a_model_of_this_project_says_so(ecapa, tmp_path):
    for action in (
        lambda: LayerExtractor.find(None, ecapa),
        lambda: load_speaker_model(ecapa),
        lambda: pack_model(ecapa, tmp_path / "x.zip"),
        lambda: find_initial_model(str(ecapa)),
    ):
        assert "ESPnet's own speaker task" in refusal(action)
    assert "only an adaptor" in refusal(
        lambda: Speech2TextEmbedding.from_pretrained(ecapa)
    )
    assert "no adaptor" in refusal(
        lambda: Speech2Embedding.from_pretrained(ecapa, asr=ecapa)
    )


def test_weights_that_do_not_fit_are_refused(broken):
    def without(prefix):
        return lambda state: {
            n: x for n, x in state.items() if not n.startswith(prefix)
        }

    found = refusal(lambda: describe(broken(weights=without("encoder.layer2"))))
    assert "missing encoder.layer2" in found
    found = refusal(lambda: describe(broken({"encoder_conf": {"ndim": 32}})))
    assert "do not fit" in found
    found = refusal(
        lambda: describe(broken(weights=lambda s: s | {"encoder.x": torch.ones(1)}))
    )
    assert "unexpected encoder.x" in found
    describe(broken(weights=without("loss.")))  # used in training only


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "magic"}, "magic"),
        ({"frontend": None}, "no frontend"),
        ({"frontend_conf": {"n_mels": "many"}}, "cannot be built"),
        ({"encoder_conf": {"ndim": 10**5}}, "out of range"),
        ({"encoder_conf": {"dilations": [2] * 9000}}, "out of range"),
        ({"projector_conf": {"output_size": 10**12}}, "out of range"),
        ({"use_adapter": True}, "use_adapter"),
        ({"freeze_param": 3}, "freeze_param"),
        ({"preprocessor_conf": {"sample_rate": -1}}, "sample_rate"),
        ({"sv_task": "spk"}, "sv_task"),
        ({"pooling": None}, "sv_task"),
    ],
)
def test_settings_that_cannot_be_used(settings, message, broken):
    assert message in refusal(lambda: describe(broken(settings)))


@pytest.mark.parametrize(
    ("frontend", "package", "advice"),
    [
        ("asteroid_frontend", "asteroid_filterbanks", "espnet[spk]"),
        ("s3prl", "s3prl", "espnet-s3prl"),
    ],
)
def test_a_missing_package_is_named(frontend, package, advice, broken, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == package else True
    )
    conf = {"frontend_conf": {"upstream": "wavlm_large"}, "download_dir": "./hub"}
    exp = broken({"frontend": frontend, "frontend_conf": conf})
    found = refusal(lambda: describe(exp))
    assert package in found and advice in found


@pytest.mark.parametrize("option", ["path_or_url", "extra_conf"])
def test_a_front_end_that_would_load_files_is_refused(option, broken):
    conf = {"upstream": "wav2vec2_custom", option: {"ckpt": "/tmp/x.pt"}}
    for settings in (
        {"frontend": "s3prl", "frontend_conf": {"frontend_conf": conf}},
        {
            "frontend": "fused",
            "frontend_conf": {"frontends": [{"frontend_type": "s3prl"} | conf]},
        },
    ):
        found = refusal(lambda settings=settings: describe(broken(settings)))
        assert "refused" in found and option in found
