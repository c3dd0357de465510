import itertools
import shutil

import pytest
import soundfile
import torch
import yaml

from espnet2_sv import Speech2Embedding, Speech2TextEmbedding
from espnet2_sv.inference.embedder import embed_wav_scp, recognise_wav_scp
from espnet2_sv.inference.extractors import JointRecogniser, Precision, load_joint
from espnet2_sv.inference.waveforms import merge_pieces
from espnet2_sv.scoring.embeddings import read_embeddings
from espnet2_sv.zoo.source import SpeakerSource

pytestmark = pytest.mark.execution_timeout(200)


@pytest.fixture
def joint(zoo):
    """A function that loads a kind of adaptor."""

    def load(kind: str, decode: str | None = None, **options) -> JointRecogniser:
        source = SpeakerSource.resolve(zoo.adaptor(kind))
        model, recogniser = load_joint(source, "cpu", decode, **options)
        return JointRecogniser(model, recogniser, max_seconds=120.0, batch_seconds=10.0)

    return load


@pytest.fixture
def waves(an4):
    """Real recordings and pieces of them, of mixed lengths."""
    whole = [torch.from_numpy(soundfile.read(path)[0]).float() for path in an4.values()]
    return [*whole, *(wave[:7000] for wave in whole[:3]), whole[0]]


@pytest.mark.parametrize(
    "kind", ["ctc", "legacy", "self_conditioned", "bpe", "owsm", "owsm_ctc"]
)
def test_results_of_batches_equal_those_of_one_by_one(joint, waves, kind):
    recogniser = joint(kind)
    for together, wave in zip(recogniser.results(waves), waves, strict=True):
        alone = recogniser.results([wave])[0]
        assert together.transcript == alone.transcript
        torch.testing.assert_close(
            together.embedding, alone.embedding, atol=1e-5, rtol=1e-4
        )


@torch.no_grad()
@pytest.mark.parametrize("seconds", [30.1, 52, 82.3])
def test_a_long_recording_is_cut_as_by_espnet(zoo, joint, waves, seconds):
    """With OWSM-CTC, whose buffers of 30 s keep 26 s."""
    wave = torch.cat(6 * waves)[: round(16000 * seconds)]
    assert len(wave) == round(16000 * seconds)
    recogniser, encoded = joint("owsm_ctc"), []
    encoder = recogniser.recogniser.asr_model.encoder
    encoder.register_forward_hook(lambda _, args, output: encoded.append(len(args[0])))
    [result, short] = recogniser.results([wave, wave[:16000]])
    stock = zoo.stock("owsm_ctc", lang_sym="<nolang>")
    [(_, _, expected)] = stock.decode_long(wave)
    assert result.transcript.text == expected
    assert len(result.transcript.tokens) > 20
    alone = recogniser.results([wave[:16000]])[0]
    assert short.transcript == alone.transcript
    assert torch.allclose(short.embedding, alone.embedding, atol=1e-5)
    # each frame is embedded once, in the buffer whose text it gives
    context, kept, frame = 25, 325, 1280
    total = round(len(wave) / frame)
    padded = torch.nn.functional.pad(wave, (context * frame, 60 * 16000))
    rows, weights = [], []
    for first in range(0, total, kept):
        piece = padded[first * frame :][: 30 * 16000]
        blocks, _ = recogniser.recogniser.backbone(piece[None], torch.tensor([480000]))
        valid = min(kept, total - first)
        read = [x[:, context : context + valid] for x in blocks]
        rows.append(recogniser.head(read, torch.tensor([valid]))[0])
        weights.append(valid)
    expected = merge_pieces(torch.stack(rows), weights)
    torch.testing.assert_close(result.embedding, expected, atol=1e-5, rtol=1e-4)
    assert sum(encoded) - 2 in (len(rows), len(rows) + 1)  # two short ones


def test_shorter_pieces_and_a_search_need_no_buffers(joint):
    wave = 0.1 * torch.randn(33 * 16000, generator=torch.Generator().manual_seed(0))
    for options in ({"decode": "beam", "beam_size": 1}, {}):
        recogniser = joint("owsm_ctc", **options)
        if not options:
            recogniser.max_samples = 20 * 16000
        halves = recogniser.results(torch.tensor_split(wave, 2))
        texts = [half.transcript.text for half in halves]
        assert recogniser.results([wave])[0].transcript.text == " ".join(texts)


def test_the_encoder_reads_what_the_adaptor_was_trained_with(
    zoo, joint, waves, tmp_path, caplog
):
    exp = shutil.copytree(zoo.adaptor("owsm_ctc"), tmp_path / "exp")
    config = exp / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    assert (settings["lang_sym"], settings["task_sym"]) == ("<nolang>", "<asr>")
    config.write_text(yaml.safe_dump(settings | {"lang_sym": "<deu>"}))
    german = Speech2TextEmbedding.from_pretrained(exp)
    text, embedding = german(waves[0])
    [(*_, expected, _)] = zoo.stock("owsm_ctc").best_path(waves[0], lang_sym="<deu>")
    assert text == expected
    alone = Speech2Embedding.from_pretrained(exp)(waves[0])
    torch.testing.assert_close(embedding, alone, atol=1e-5, rtol=1e-4)
    assert "lang_sym" not in caplog.text
    other = Speech2TextEmbedding.from_pretrained(exp, lang_sym="<eng>")
    assert not torch.allclose(other(waves[0])[1], embedding, atol=1e-3)
    assert "lang_sym <eng>: the speaker model was trained with <deu>" in caplog.text


def test_the_encoder_runs_once_a_batch(joint, waves):
    recogniser, batches = joint("ctc"), []
    encoder = recogniser.recogniser.asr_model.encoder
    encoder.register_forward_hook(
        lambda module, args, output: batches.append(len(args[0]))
    )
    recogniser.results(waves)
    assert sum(batches) == len(waves) and len(batches) < len(waves)
    batches.clear()
    legacy = joint("legacy")
    legacy.recogniser.asr_model.encoder.register_forward_hook(
        lambda module, args, output: batches.append(len(args[0]))
    )
    legacy.results(waves)
    lengths = sorted(len(wave) for wave in waves)
    assert sorted(batches) == sorted(
        len(list(g)) for _, g in itertools.groupby(lengths)
    )


@pytest.fixture
def wav_scp(an4, tmp_path):
    (tmp_path / "wav.scp").write_text("".join(f"{k} {v}\n" for k, v in an4.items()))
    return tmp_path / "wav.scp"


def read_text(folder) -> dict[str, str]:
    lines = (folder / "text").read_text().splitlines()
    return dict(line.partition(" ")[::2] for line in lines)


def test_a_list_gets_text_and_vectors(zoo, joint, an4, wav_scp, tmp_path):
    report = recognise_wav_scp(zoo.adaptor(), wav_scp, tmp_path / "joint", shard_size=3)
    assert (report.embedded, report.failed) == (8, 0)
    text, recogniser = read_text(tmp_path / "joint"), joint("ctc")
    assert list(text) == list(an4)
    for name, path in an4.items():
        assert (
            text[name]
            == recogniser.results([soundfile.read(path)[0]])[0].transcript.text
        )
    embed_wav_scp(zoo.adaptor(), wav_scp, tmp_path / "embedded")
    names = list(an4)
    _, vectors = read_embeddings(tmp_path / "joint/xvector.scp", names)
    _, expected = read_embeddings(tmp_path / "embedded/xvector.scp", names)
    torch.testing.assert_close(
        torch.tensor(vectors), torch.tensor(expected), atol=1e-5, rtol=1e-4
    )


def test_several_processes_and_beam_search(zoo, an4, wav_scp, tmp_path):
    decoding = {"beam_size": 2, "ctc_weight": 0.4, "maxlenratio": 0.1}
    recognise_wav_scp(
        zoo.adaptor("attention"),
        wav_scp,
        tmp_path / "joint",
        nj=2,
        shard_size=2,
        decode="beam",
        decoding=decoding,
    )
    stock = zoo.stock("attention", **decoding)
    text = read_text(tmp_path / "joint")
    for name, path in an4.items():
        assert text[name] == stock(soundfile.read(path)[0])[0][0]


def test_a_finished_list_is_done_again_only_if_decoded_otherwise(
    zoo, wav_scp, tmp_path
):
    def run(**options):
        return recognise_wav_scp(
            zoo.adaptor("attention"), wav_scp, tmp_path / "o", **options
        ).new

    assert run() == 8
    assert run() == 0
    (tmp_path / "o/text").unlink()
    assert run() == 8
    assert run(decode="beam", decoding={"beam_size": 2, "maxlenratio": 0.05}) == 8
    assert run(decode="beam", decoding={"beam_size": 3, "maxlenratio": 0.05}) == 8
    assert run(decode="beam", decoding={"beam_size": 3, "maxlenratio": 0.05}) == 0


def test_bad_recordings_have_no_text(zoo, wav_scp, tmp_path):
    with open(wav_scp, "a", encoding="utf-8") as stream:
        stream.write("z nowhere.wav\n")
    report = recognise_wav_scp(zoo.adaptor(), wav_scp, tmp_path / "o", skip_bad=True)
    assert (report.embedded, report.failed) == (8, 1)
    assert "z" not in read_text(tmp_path / "o")


def test_mixed_precision_is_close(zoo, joint, waves):
    model, recogniser = load_joint(SpeakerSource.resolve(zoo.adaptor()))
    half = JointRecogniser(model, recogniser, **vars(Precision(dtype="bfloat16")))
    full = joint("ctc").results(waves[:2])
    for a, b in zip(half.results(waves[:2]), full, strict=True):
        assert (
            torch.nn.functional.cosine_similarity(a.embedding, b.embedding, dim=0)
            > 0.99
        )
        assert not torch.equal(a.embedding, b.embedding)
