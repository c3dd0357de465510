"""Exported models compute the embeddings of the models that they were made from."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from speaker_models import make_exp
from stock_speakers import make_stock_exp

from espnet2_sv.backbones.blocks import BlockBackbone
from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.bin.sv_export import main
from espnet2_sv.errors import SVError
from espnet2_sv.heads import MFAHead, SpeakerAdaptor
from espnet2_sv.heads.pooled import PooledHead
from espnet2_sv.inference.speech2embedding import Speech2Embedding
from espnet2_sv.inference.verifier import SpeakerVerifier
from espnet2_sv.models.speaker_model import SpeakerModel
from espnet2_sv.models.traceable import TraceableSpeakerModel
from espnet2_sv.packaging import export
from espnet2_sv.packaging.onnx_check import open_session
from espnet2_sv.packaging.onnx_graph import over_utterances, serialize, trace

DOCUMENT = Path(__file__).resolve().parents[2] / "tools/doc/deployment.md"

SIZE = {"output_size": 16, "num_blocks": 2, "attention_heads": 2}
CONFORMER = {**SIZE, "linear_units": 24, "cnn_module_kernel": 7, "macaron_style": True}
LATEST = {**CONFORMER, "rel_pos_type": "latest"}
ABSOLUTE = {
    **CONFORMER,
    "pos_enc_layer_type": "abs_pos",
    "selfattention_layer_type": "selfattn",
}
BRANCHES = {**SIZE, "cgmlp_linear_units": 32, "cgmlp_conv_kernel": 7}
FAST = {"attention_layer_type": "fast_selfattn", "pos_enc_layer_type": "abs_pos"}
CONDITIONED = {"interctc_layer_idx": [1], "interctc_use_conditioning": True}
ENCODERS = [
    ("conformer", LATEST),
    ("conformer", {**CONFORMER, "rel_pos_type": "legacy"}),
    ("conformer", {**ABSOLUTE, "input_layer": "conv2d6"}),
    ("conformer", {**ABSOLUTE, "pos_enc_layer_type": "scaled_abs_pos"}),
    ("conformer", {**LATEST, "input_layer": "conv2d8", "zero_triu": True}),
    ("conformer", {**LATEST, "input_layer": "conv2d2", **CONDITIONED}),
    ("conformer", {**LATEST, "input_layer": "linear", "normalize_before": False}),
    ("e_branchformer", {**BRANCHES, "input_layer": "conv1d3", **CONDITIONED}),
    ("e_branchformer", {**BRANCHES, **FAST}),
    ("branchformer", {**BRANCHES, "merge_method": "learned_ave"}),
    ("transformer", {**SIZE, "linear_units": 24, "input_layer": "conv1d2"}),
    ("multiconv_conformer", {**SIZE, "linear_units": 24, "cgmlp_linear_units": 32}),
    ("ecapa_tdnn", {"ndim": 16, "output_size": 24}),
    ("resnet", {"m_channels": 2}),
    ("e_branchformer_ctc", {**BRANCHES, **CONDITIONED, "use_cross_attention": [0, 1]}),
]
NORMALIZATIONS = [
    ("utterance_mvn", {}),
    ("utterance_mvn", {"norm_vars": True}),
    ("stored_mvn", {"dim": 80}),
    (None, {}),
    ("utterance_mvn", {"norm_means": False, "norm_vars": True}),
]
FRONTENDS = [
    {"n_fft": 512, "hop_length": 160},
    {"n_fft": 400, "hop_length": 160},
    {"n_fft": 512, "win_length": 400, "hop_length": 160, "center": False},
    {"n_fft": 512, "hop_length": 128, "normalized": True, "window": "hamming"},
]


def model_of(number: int) -> SpeakerModel:
    """The encoder of a number; front ends, normalisations and heads take turns."""
    encoder, conf = ENCODERS[number]
    normalize, normalize_conf = NORMALIZATIONS[number % len(NORMALIZATIONS)]
    torch.manual_seed(number)
    backbone = build_backbone(
        {
            "encoder": encoder,
            "encoder_conf": conf,
            "frontend_conf": FRONTENDS[number % len(FRONTENDS)],
            "normalize": normalize,
            "normalize_conf": normalize_conf,
            "conditioning_vocab": 5,
        }
    )
    sizes = {"num_blocks": backbone.num_blocks, "block_dim": backbone.block_dim}
    head: torch.nn.Module = PooledHead(
        **sizes, embed_dim=8, pooling=["mean", "stats", "chn_attn_stat"][number % 3]
    )
    if isinstance(backbone, BlockBackbone) and number % 3 == 0:
        head = MFAHead(**sizes, embed_dim=8)
    elif isinstance(backbone, BlockBackbone) and number % 3 == 1:
        head = SpeakerAdaptor(**sizes, embed_dim=8, adaptor_dim=8, num_light_blocks=1)
    model = SpeakerModel(backbone, head, None)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.add_(torch.rand_like(buffer))
    return model.eval()


def alone(model: SpeakerModel, waves: list[np.ndarray]) -> np.ndarray:
    """Reference: the model's embedding of each utterance, without padding."""
    with torch.inference_mode():
        rows = [
            model.embed(torch.from_numpy(w)[None], torch.tensor([len(w)]))
            for w in waves
        ]
    return torch.cat(rows).numpy()


@pytest.mark.parametrize("number", range(len(ENCODERS)))
def test_embeddings_are_those_of_the_utterance_alone(number):
    model, rng = model_of(number), np.random.default_rng(number)
    network = TraceableSpeakerModel(model, linear_convolutions=number % 2 == 1)
    data = serialize(over_utterances(trace(network), network), {})
    session = open_session(data, 1)
    shortest = model.backbone.minimum_samples
    for sizes in ([shortest, 8001, 64000, 23456], [shortest], [50000]):
        waves = [rng.normal(0, 0.1, n).astype(np.float32) for n in sizes]
        padded = rng.normal(0, 9, (len(sizes), max(sizes) + 777)).astype(np.float32)
        for row, wave in zip(padded, waves, strict=True):
            row[: len(wave)] = wave
        (found,) = session.run(None, {"waveform": padded, "lengths": np.array(sizes)})
        np.testing.assert_allclose(found, alone(model, waves), rtol=0, atol=1e-5)
    wrong = np.array([shortest - 1, 0, -5, padded.shape[1] + 1, padded.shape[1]])
    waveform = np.repeat(padded, len(wrong), axis=0)
    (found,) = session.run(None, {"waveform": waveform, "lengths": wrong})
    assert np.isnan(found[:-1]).all()
    assert np.isfinite(found[-1]).all()


def exported(capsys, model, path, *options) -> dict:
    """What the command prints; the file is at the path."""
    main(["--model", str(model), "--output", str(path), "--json", *options])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["adaptor", "legacy"])
def test_the_command(kind, legacy_exp, zoo, an4, tmp_path, capsys):
    source = legacy_exp if kind == "legacy" else zoo.adaptor()
    path = tmp_path / "new" / "speaker.onnx"
    report = exported(capsys, source, path)
    assert report["max_difference"] < 1e-4
    assert report["min_cosine"] > 0.99999
    assert report["megabytes"] == pytest.approx(path.stat().st_size / 1e6)
    assert not any(key.startswith("int8") for key in report)

    waves = [soundfile.read(p, dtype="float32")[0] for p in an4.values()][:3]
    lengths = np.array([len(wave) for wave in waves])
    padded = np.zeros((3, lengths.max()), np.float32)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = wave
    session = open_session(path.read_bytes(), 1)
    (found,) = session.run(None, {"waveform": padded, "lengths": lengths})
    speech2embedding = Speech2Embedding.from_pretrained(source)
    expected = np.concatenate([speech2embedding(wave).numpy() for wave in waves])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("encoder", ["conformer", "ecapa_tdnn"])
def test_int8_is_smaller_and_similar(encoder, tmp_path, capsys):
    conf = {"output_size": 64, "linear_units": 256, "num_blocks": 1}
    model = model_of(12)
    if encoder == "conformer":
        backbone = build_backbone(
            {"encoder": encoder, "encoder_conf": {**LATEST, **conf}}
        )
        model = SpeakerModel(backbone, MFAHead(1, 64, embed_dim=32), None).eval()
    plain, _ = export.to_onnx(model, {})
    small, report = export.to_onnx(model, {}, "int8")
    weights = {t.name: t for t in onnx.load_from_string(small).graph.initializer}
    integers = [t for t in weights.values() if t.data_type == onnx.TensorProto.INT8]
    assert integers
    assert 0.99 < report.int8_min_cosine < 1
    assert report.max_difference < 1e-4  # of the graph that is quantised
    if encoder == "conformer":
        kernels = 4 * 514 * 512  # bytes of the Fourier transform, which stays
        assert len(small) - kernels < 0.6 * (len(plain) - kernels)


class Spectrum(torch.nn.Module):
    """A head with an operator that ONNX lacks."""

    embed_dim = 16

    def forward(self, blocks, lengths):
        return torch.linalg.eigvalsh(blocks[-1].transpose(1, 2) @ blocks[-1])


class Refusing(Spectrum):
    def forward(self, blocks, lengths):
        if torch.onnx.is_in_onnx_export():
            raise RuntimeError("reads files")
        return blocks[-1].mean(1)


class Counting(Spectrum):
    """A trace records the number of frames of its example."""

    def forward(self, blocks, lengths):
        return blocks[-1].sum(1) / int(blocks[-1].size(1))


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (Spectrum(), "cannot be exported: operator aten::linalg_eigvalsh"),
        (Refusing(), "cannot be exported: module Refusing: reads files"),
        (Counting(), "differ from the model's by"),
    ],
)
def test_what_cannot_be_exported_is_named(
    head, named, speaker_exp, tmp_path, monkeypatch, capfd
):
    model = model_of(0)
    model.head = head
    monkeypatch.setattr(export, "load_speaker_model", lambda source: (model, None))
    with pytest.raises(SVError, match=re.escape(named)):
        main(["--model", str(speaker_exp), "--output", str(tmp_path / "a.onnx")])
    assert capfd.readouterr().out == ""
    assert not list(tmp_path.iterdir())


def test_a_front_end_with_dereverberation_is_refused():
    model = model_of(0)
    model.backbone.frontend.frontend.use_wpe = True
    with pytest.raises(SVError, match="front end's use_wpe cannot be exported"):
        TraceableSpeakerModel(model)


def test_models_of_espnets_own_task_are_refused(tmp_path):
    exp = make_stock_exp(tmp_path / "exp", "xvector")
    with pytest.raises(SVError, match="ESPnet's own speaker task; sv_export"):
        main(["--model", str(exp), "--output", str(tmp_path / "a.onnx")])


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(package, speaker_exp, tmp_path, monkeypatch):
    find = export.importlib.util.find_spec
    monkeypatch.setattr(
        export.importlib.util,
        "find_spec",
        lambda name: None if name == package else find(name),
    )
    with pytest.raises(
        SVError, match=rf"{package} is missing: pip install 'espnet2_sv\["
    ):
        main(["--model", str(speaker_exp), "--output", str(tmp_path / "a.onnx")])


def check_metadata(model: onnx.ModelProto) -> None:
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["sample_rate"] == "16000"
    assert facts["embedding_size"] == "8"
    assert facts["length_normalised"] == "false"
    assert facts["minimum_samples"] == "960"  # 7 frames of 10 ms, centred
    assert len(facts["fingerprint"].split()) == 2
    assert json.loads(facts["threshold"]) == {"cosine": 0.5}
    assert "calibration" not in facts
    for value in [*model.graph.input, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        fixed = [d.dim_value for d in dims if d.HasField("dim_value")]
        assert fixed == ([8] if value.name == "embedding" else [])


def test_the_documented_program_needs_neither_torch_nor_espnet(
    an4, tmp_path, monkeypatch, capsys
):
    exp = make_exp(tmp_path / "exp")
    (exp / "threshold.json").write_text('{"cosine": 0.5}')
    recordings = [an4["an251-fash-b"], an4["cen8-mmxg-b"]]
    expected = SpeakerVerifier.from_pretrained(exp).verify(*recordings)
    exported(capsys, exp, tmp_path / "speaker.onnx")
    check_metadata(onnx.load(tmp_path / "speaker.onnx"))
    for path, name in zip(recordings, ("a.wav", "b.wav"), strict=True):
        soundfile.write(tmp_path / name, *soundfile.read(path))
    section = DOCUMENT.read_text().split("\n## Without ESPnet\n")[1]
    (program,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    for name in ("torch", "torchaudio", "espnet", "espnet2", "espnet2_sv"):
        monkeypatch.setitem(sys.modules, name, None)  # cannot be imported
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(program, str(DOCUMENT), "exec"), names)
    assert names["score"] == pytest.approx(expected["score"], abs=1e-4)
    assert names["threshold"] == expected["threshold"] == 0.5
    long = np.tile(soundfile.read("a.wav", dtype="float32")[0], 30)  # two pieces
    embedding = names["embed"]([long])[0]
    assert embedding @ names["embed"]([long[: len(long) // 2]])[0] > 0.9
