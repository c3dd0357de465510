"""What ESPnet's own code makes of packed models, from files and from a Hub."""

import zipfile

import numpy as np
import pytest
import soundfile
import torch
import yaml
from espnet_model_zoo.downloader import ModelDownloader
from hub_server import Repository
from huggingface_hub import model_info
from speaker_models import CONFORMER, make_exp

import espnet
from espnet2.bin.asr_inference import Speech2Text
from espnet2.bin.s2t_inference import Speech2Text as OwsmSpeech2Text
from espnet2.bin.spk_inference import Speech2Embedding as EspnetSpeech2Embedding
from espnet2.main_funcs.pack_funcs import unpack as espnet_unpack
from espnet2.spk.encoder.conformer_encoder import MfaConformerEncoder
from espnet2.spk.espnet_model import ESPnetSpeakerModel
from espnet2.spk.pooling.chn_attn_stat_pooling import ChnAttnStatPooling
from espnet2.spk.projector.rawnet3_projector import RawNet3Projector
from espnet2.utils.pretrained import ModelTagError
from espnet2_sv import SpeakerVerifier, Speech2Embedding, Speech2TextEmbedding
from espnet2_sv.models.espnet_names import espnet_equivalent
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.models.resolve import resolve_speaker_model
from espnet2_sv.packaging.pack import pack_model
from espnet2_sv.tasks.sv import SVTask

pytestmark = [
    pytest.mark.execution_timeout(200),
    pytest.mark.filterwarnings("ignore:Expanding a local model:UserWarning"),
]


@pytest.fixture
def audio(an4):
    return soundfile.read(an4["an251-fash-b"])[0].astype(np.float32)


@pytest.fixture
def ecapa_exp(tmp_path):
    return make_exp(tmp_path / "exp" / "sv_ecapa", encoder="ecapa_tdnn")


@pytest.fixture
def publish(hub):
    """A function that puts a package on the Hub and returns its tag."""

    def put(archive, tag="org/model"):
        with zipfile.ZipFile(archive) as members:
            files = {name: members.read(name) for name in members.namelist()}
        hub.repositories[tag] = Repository(files=files, commits=[list(files)])
        return tag

    return put


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "head",
    [{}, {"pooling": "mean", "projector": "ska_tdnn"}, {"pooling": "stats"}],
)
def test_espnet_gives_the_embeddings_of_a_packed_ecapa(tmp_path, home, audio, head):
    exp = make_exp(
        tmp_path / "exp" / "sv", encoder="ecapa_tdnn", head_conf={"embed_dim": 8} | head
    )
    ours = Speech2Embedding.from_pretrained(exp)
    pack_model(exp, tmp_path / "model.zip")
    files = espnet_unpack(tmp_path / "model.zip", tmp_path / "unpacked")
    espnets = EspnetSpeech2Embedding(**files)
    again = Speech2Embedding.from_pretrained(tmp_path / "model.zip")
    by_files = Speech2Embedding(**files)
    for seconds in (0.5, 1.1, 9):
        piece = audio[: round(seconds * 16000)]
        assert_same(espnets(piece), ours(piece))
        assert torch.equal(again(piece), ours(piece))
        assert torch.equal(by_files(piece), ours(piece))
    trained = load_speaker_model(exp)[0].loss
    assert torch.equal(espnets.spk_model.loss.weight, trained.weight)


def test_settings_that_a_configuration_leaves_out_are_no_obstacle(
    ecapa_exp, tmp_path, home, audio
):
    config = ecapa_exp / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    for key in ("init", "specaug", "specaug_conf", "normalize_conf"):
        del settings[key]
    config.write_text(yaml.safe_dump(settings))
    pack_model(ecapa_exp, tmp_path / "model.zip")
    files = espnet_unpack(tmp_path / "model.zip", tmp_path / "unpacked")
    expected = Speech2Embedding.from_pretrained(ecapa_exp)(audio)
    assert_same(EspnetSpeech2Embedding(**files)(audio), expected)


def test_statistics_that_espnet_has_in_a_file_are_not_offered_to_it(
    ecapa_exp, tmp_path
):
    config, weights = ecapa_exp / "config.yaml", ecapa_exp / "valid.eer.best.pth"
    stored = {"normalize": "stored_mvn", "normalize_conf": {"dim": 80}}
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | stored))
    state = torch.load(weights, weights_only=True)
    state |= {"backbone.normalize.mean": torch.zeros(80)}
    torch.save(state | {"backbone.normalize.std": torch.ones(80)}, weights)
    assert "espnet2_sv" in meta_files(ecapa_exp, tmp_path)


def test_a_packed_ecapa_is_repacked_and_fine_tuned(ecapa_exp, tmp_path, home):
    pack_model(ecapa_exp, tmp_path / "model.zip")
    resolve_speaker_model(tmp_path / "model.zip", tmp_path / "exp" / "resolved")
    pack_model(tmp_path / "exp" / "resolved", tmp_path / "again.zip")
    args = SVTask.get_parser().parse_args(["--output_dir", str(tmp_path)])
    args.init_sv, args.spk_num = str(tmp_path / "again.zip"), 4
    tuned, (model, _) = SVTask.build_model(args), load_speaker_model(ecapa_exp)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tuned.state_dict()[name], tensor), name


def test_espnet_loads_a_packed_ecapa_from_the_hub(
    ecapa_exp, tmp_path, home, audio, publish
):
    pack_model(ecapa_exp, tmp_path / "model.zip")
    tag = publish(tmp_path / "model.zip")
    found = espnet.load(tag, device="cpu")
    assert isinstance(found, EspnetSpeech2Embedding)
    assert_same(found(audio), Speech2Embedding.from_pretrained(tag)(audio))


@pytest.mark.parametrize("encoder", ["conformer", "resnet", "ska_tdnn"])
def test_what_espnet_would_embed_otherwise_names_this_package(
    encoder, tmp_path, home, audio, publish
):
    exp = make_exp(tmp_path / "exp" / "sv", encoder=encoder)
    pack_model(exp, tmp_path / "model.zip")
    tag = publish(tmp_path / "model.zip")
    for options in ({}, {"task": "spk"}):
        with pytest.raises(
            ModelTagError, match=r"was published with espnet2_sv, which"
        ):
            espnet.load(tag, device="cpu", **options)
    with pytest.raises(TypeError, match="unexpected keyword argument 'espnet2_sv'"):
        EspnetSpeech2Embedding.from_pretrained(tag)
    with zipfile.ZipFile(tmp_path / "model.zip") as members:
        card = members.read("README.md").decode()
    assert "`espnet.load` and ESPnet's own `Speech2Embedding` refuse" in card
    expected = Speech2Embedding.from_pretrained(exp)(audio)
    assert torch.equal(Speech2Embedding.from_pretrained(tag)(audio), expected)
    files = ModelDownloader().download_and_unpack(tag)
    assert torch.equal(Speech2Embedding(**files)(audio), expected)


def test_an_adaptor_from_espnet_s_downloader_finds_its_asr_model(
    zoo, tmp_path, home, audio, publish
):
    pack_model(zoo.adaptor(), tmp_path / "model.zip")
    tag = publish(tmp_path / "model.zip")
    with pytest.raises(ModelTagError, match="was published with espnet2_sv, which"):
        espnet.load(tag, device="cpu")
    files = ModelDownloader().download_and_unpack(tag)
    _, expected = Speech2TextEmbedding.from_pretrained(zoo.adaptor())(audio)
    torch.testing.assert_close(Speech2Embedding(**files)(audio), expected)


def test_espnet_recognises_speech_with_a_joint_package(
    zoo, tmp_path, home, audio, publish
):
    pack_model(zoo.adaptor(), tmp_path / "model.zip", package_format="joint")
    tag = publish(tmp_path / "model.zip")
    options = {"beam_size": 3, "maxlenratio": 0.2}
    recogniser = espnet.load(tag, device="cpu", **options)  # labelled as an ASR model
    assert isinstance(recogniser, Speech2Text)
    assert recogniser(audio)[0][:3] == zoo.stock("ctc", **options)(audio)[0][:3]
    assert SpeakerVerifier.from_pretrained(tag).verify(audio, audio)["score"] > 0.999
    info = model_info(tag)
    assert info.pipeline_tag == "automatic-speech-recognition"
    assert "speaker-verification" not in info.tags


def test_espnet_recognises_speech_with_a_joint_package_of_owsm_ctc(
    zoo, tmp_path, home, audio, publish
):
    archive = tmp_path / "model.zip"
    pack_model(zoo.adaptor("owsm_ctc"), archive, package_format="joint")
    recogniser = espnet.load(publish(archive), device="cpu", lang_sym="<nolang>")
    assert isinstance(recogniser, OwsmSpeech2Text) and recogniser.ctc_only
    stock = zoo.stock("owsm_ctc", lang_sym="<nolang>")
    assert recogniser.best_path(audio) == stock.best_path(audio)


def test_packages_are_found_on_the_hub_as_speaker_models(
    speaker_exp, tmp_path, publish
):
    pack_model(speaker_exp, tmp_path / "model.zip")
    info = model_info(publish(tmp_path / "model.zip"))
    assert {"espnet", "espnet2_sv", "speaker-verification"} <= set(info.tags)
    assert info.pipeline_tag == "audio-classification"


def as_mfa_conformer(model) -> ESPnetSpeakerModel:
    """ESPnet's MFA-Conformer with the weights of a model of ours."""
    projection, encoder = model.head.projection, model.backbone.encoder
    size = projection.layer_norm.weight.numel()
    mfa = MfaConformerEncoder(
        input_size=80, input_layer="conv2d", **CONFORMER, rel_pos_type="latest"
    )
    norm = projection.layer_norm
    state = {k: v for k, v in encoder.state_dict().items() if "after_norm" not in k}
    mfa.load_state_dict(state | {"ln.weight": norm.weight, "ln.bias": norm.bias})
    pooling, ours = ChnAttnStatPooling(size), projection.pooling
    convolution, _, batch_norm, score = pooling.attention
    for theirs, layer in ((convolution, ours.hidden), (score, ours.score)):
        theirs.load_state_dict({"weight": layer.weight[..., None], "bias": layer.bias})
    batch_norm.load_state_dict(ours.norm.state_dict())
    projector = RawNet3Projector(2 * size, model.head.embed_dim)
    projector.bn.load_state_dict(projection.batch_norm.state_dict())
    projector.fc.load_state_dict(projection.linear.state_dict())
    backbone = model.backbone
    return ESPnetSpeakerModel(
        backbone.frontend, None, backbone.normalize, mfa, pooling, projector, None
    ).eval()


@torch.inference_mode()
def test_only_pooling_keeps_espnet_from_embedding_with_a_conformer(
    speaker_exp, audio, monkeypatch
):
    model, _ = load_speaker_model(speaker_exp)
    model.head.projection.pooling.hidden.weight.mul_(20)  # attention as after training
    network, speech = as_mfa_conformer(model), torch.from_numpy(audio)[None]
    expected = model.embed(speech, torch.tensor([len(audio)]))
    found = network(speech, extract_embd=True)  # divides by frames before subsampling
    assert (found - expected).abs().max() > 0.01 * expected.abs().max()
    forward = network.pooling.forward
    monkeypatch.setattr(network.pooling, "forward", lambda x, feat_lengths: forward(x))
    assert_same(network(speech, extract_embd=True), expected)
    assert espnet_equivalent(model) is None


def test_equality_is_measured_not_assumed(ecapa_exp, monkeypatch):
    model, _ = load_speaker_model(ecapa_exp)
    assert espnet_equivalent(model) is not None
    monkeypatch.setattr(
        ESPnetSpeakerModel,
        "encode_frame",
        lambda self, feats: self.encoder(1.1 * feats),
    )
    assert espnet_equivalent(model) is None


def meta_files(exp, tmp_path) -> dict[str, str]:
    """What the packed meta.yaml hands to ESPnet's class, except configurations."""
    pack_model(exp, tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as members:
        return yaml.safe_load(members.read("meta.yaml"))["files"]


def test_only_what_espnet_would_embed_otherwise_is_marked(
    ecapa_exp, speaker_exp, tmp_path
):
    weights = {"model_file": "exp/sv_ecapa/valid.eer.best.pth"}
    assert meta_files(ecapa_exp, tmp_path) == weights
    marked = meta_files(speaker_exp, tmp_path)
    assert marked.keys() == {"model_file", "espnet2_sv"}
    assert marked["espnet2_sv"] == "README.md"
