import copy

import asr_models
import pytest
import torch

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.distill import teacher as teacher_module
from espnet2_sv.distill.teacher import Teacher
from espnet2_sv.errors import SVError

MODELS = [
    "librispeech_conformer_hop160",
    "librispeech_e_branchformer",
    "owsm_v3.1_ebf",
    "owsm_v4_base",
    "owsm_ctc_v4",
    "wsj_transformer",
    "librispeech_100_conformer_scctc",  # self-conditioned CTC
]


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_posteriors_equal_those_of_the_asr_model(train_asr, name):
    trained = train_asr(name)
    teacher = Teacher(load_asr_bundle(trained.exp))
    speech = 0.1 * torch.randn(2, 16000)
    hidden, lengths = teacher.encode(speech, torch.tensor([16000, 16000]))
    expected, expected_lengths = asr_models.encode(
        trained.stock, speech, torch.tensor([16000, 16000])
    )
    if name.startswith("owsm_ctc"):  # without the frames of language and task
        expected, expected_lengths = expected[:, 2:], expected_lengths - 2
    assert lengths.tolist() == expected_lengths.tolist()
    found = teacher.log_probs(hidden)
    torch.testing.assert_close(
        found, trained.stock.ctc.log_softmax(expected), atol=1e-5, rtol=0
    )
    assert teacher.vocab == found.shape[-1]
    soft = (trained.stock.ctc.ctc_lo(expected) / 3.0).log_softmax(dim=-1)
    torch.testing.assert_close(teacher.log_probs(hidden, 3.0), soft, atol=1e-5, rtol=0)


def test_has_no_trainable_or_saved_parameters_and_no_decoder(train_asr):
    bundle = load_asr_bundle(train_asr("librispeech_conformer_hop160").exp)
    teacher = Teacher(bundle).train()
    assert not list(teacher.parameters())
    assert not teacher.state_dict()
    kept = {id(p) for p in teacher.frozen_module.parameters()}
    assert not kept & {id(p) for p in bundle.model.decoder.parameters()}
    assert kept == {
        id(p)
        for part in (bundle.model.encoder, bundle.model.ctc)
        for p in part.parameters()
    }
    assert not any(p.requires_grad for p in teacher.frozen_module.parameters())
    assert not any(module.training for module in teacher.frozen_module.modules())
    speech = torch.randn(2, 16000, requires_grad=True)
    hidden, _ = teacher.encode(speech, torch.tensor([16000, 16000]))
    assert not teacher.log_probs(hidden).requires_grad


def test_can_be_copied_and_converted(train_asr):
    teacher = Teacher(load_asr_bundle(train_asr("librispeech_conformer_hop160").exp))
    copied = copy.deepcopy(teacher).to(torch.float64)
    assert {p.dtype for p in copied.frozen_module.parameters()} == {torch.float64}
    assert {p.dtype for p in teacher.frozen_module.parameters()} == {torch.float32}


@torch.no_grad()
def test_encoding_in_chunks_gives_the_same_output(
    train_asr, small_conformer, speech, monkeypatch
):
    teacher = Teacher(load_asr_bundle(train_asr(small_conformer()).exp))
    whole, lengths = teacher.encode(*speech)
    monkeypatch.setattr(teacher_module, "CPU_CHUNK_UTTERANCES", 1)
    chunked, same = teacher.encode(*speech)
    assert lengths.tolist() == same.tolist()
    for a, b, length in zip(whole, chunked, lengths, strict=True):
        torch.testing.assert_close(a[:length], b[:length], atol=1e-5, rtol=0)


def test_a_model_without_ctc_is_rejected(train_asr):
    bundle = load_asr_bundle(train_asr("speechcommands_conformer_noctc").exp)
    with pytest.raises(SVError, match=r"cannot be the teacher.*without CTC"):
        Teacher(bundle)


@torch.no_grad()
def test_mixed_precision_casts_weights_once_and_changes_nothing(
    train_asr, small_conformer, speech
):
    teacher = Teacher(load_asr_bundle(train_asr(small_conformer()).exp)).train()
    backbone = teacher.frozen_module.backbone
    feats, lengths = backbone.features(*speech)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, _ = backbone.encode(feats.clone(), lengths)
        found, _ = teacher.encode(*speech)
        cast = teacher.in_autocast(backbone, speech[0].device)
        assert teacher.in_autocast(backbone, speech[0].device) is cast
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    linear = "encoders.0.self_attn.linear_q.weight"
    assert cast.encoder.get_parameter(linear).dtype == torch.bfloat16
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}
    # without mixed precision, and for validation, the weights are those of the archive
    assert teacher.encode(*speech)[0].dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert teacher.eval().in_autocast(backbone, speech[0].device) is backbone
