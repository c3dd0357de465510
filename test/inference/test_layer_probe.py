import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from espnet2_sv.asr import load_asr_bundle
from espnet2_sv.errors import SVError
from espnet2_sv.inference.layer_probe import probe_layers, write_report
from espnet2_sv.models.load import load_speaker_model
from espnet2_sv.scoring.intervals import Resampling

NONE = Resampling(samples=0)


def read(path) -> list[list[str]]:
    return [line.split() for line in Path(path).read_text().splitlines()]


def reference_eer(vectors: dict[str, np.ndarray], trials) -> float:
    """The equal error rate in percent, of cosines, in the usual four lines."""
    unit = {name: v / np.linalg.norm(v) for name, v in vectors.items()}
    scores = [unit[a] @ unit[b] for a, b, _ in trials]
    fpr, tpr, _ = roc_curve([label == "target" for *_, label in trials], scores)
    return 100 * brentq(lambda x: 1.0 - x - interp1d(fpr, tpr)(x), 0.0, 1.0)


def halves(frames: np.ndarray) -> np.ndarray:
    mean, std = frames.mean(0), np.sqrt(np.maximum(frames.var(0), 1e-5))
    return np.hstack([mean / np.linalg.norm(mean), std / np.linalg.norm(std)])


def blocks_of(backbone, wav_scp) -> dict[str, list[np.ndarray]]:
    found = {}
    with torch.no_grad():
        for name, path in read(wav_scp):
            speech = torch.tensor(soundfile.read(path, dtype="float32")[0])[None]
            blocks, _ = backbone(speech, torch.tensor([speech.size(1)]))
            found[name] = [block[0].double().numpy() for block in blocks]
    return found


def test_each_block_is_pooled_and_scored(zoo, corpus, tmp_path):
    results = probe_layers(
        corpus.root / "wav.scp", corpus.trials, tmp_path, asr=zoo.asr(), resampling=NONE
    )
    assert [r.name for r in results] == ["block 1", "block 2", "block 3"]
    blocks = blocks_of(load_asr_bundle(zoo.asr()).backbone(), corpus.root / "wav.scp")
    for i, result in enumerate(results):
        vectors = {name: halves(found[i]) for name, found in blocks.items()}
        assert result.eer == pytest.approx(
            reference_eer(vectors, read(corpus.trials)), abs=1e-4
        )


def test_an_adaptors_streams_and_its_embedding(zoo, corpus, tmp_path):
    results = probe_layers(
        corpus.root / "wav.scp",
        corpus.trials,
        tmp_path,
        model=zoo.adaptor(),
        resampling=NONE,
    )
    assert [r.name for r in results] == [
        *(f"adaptor of block {i}" for i in (1, 2, 3)),
        "light block 1",
        "light block 2",
        "embedding",
    ]
    model, _ = load_speaker_model(zoo.adaptor())
    blocks = blocks_of(model.backbone, corpus.root / "wav.scp")
    streams, embeddings = {}, {}
    with torch.no_grad():
        for name, found in blocks.items():
            tensors = [torch.tensor(b).float()[None] for b in found]
            streams[name] = halves(
                model.head.layer_adaptors[1](tensors[1])[0].double().numpy()
            )
            lengths = torch.tensor([tensors[0].size(1)])
            embeddings[name] = model.head(tensors, lengths)[0].double().numpy()
    trials = read(corpus.trials)
    assert results[1].eer == pytest.approx(reference_eer(streams, trials), abs=1e-4)
    assert results[-1].eer == pytest.approx(reference_eer(embeddings, trials), abs=1e-4)


def test_standardising_uses_other_recordings(zoo, corpus, tmp_path):
    entries = read(corpus.root / "wav.scp")
    half = len(entries) // 2
    lists = {}
    for name, part in (("tested", entries[:half]), ("other", entries[half:])):
        lists[name] = tmp_path / f"{name}.scp"
        lists[name].write_text("".join(f"{a} {b}\n" for a, b in part))
    names = {a for a, _ in entries[:half]}
    trials = [trial for trial in read(corpus.trials) if {*trial[:2]} <= names]
    (tmp_path / "trials").write_text(
        "".join(" ".join(trial) + "\n" for trial in trials)
    )
    arguments = {"asr": zoo.asr(), "resampling": NONE}
    results = probe_layers(
        lists["tested"],
        tmp_path / "trials",
        tmp_path / "out",
        norm_wav_scp=lists["other"],
        **arguments,
    )
    blocks = blocks_of(load_asr_bundle(zoo.asr()).backbone(), corpus.root / "wav.scp")
    raw = {
        n: np.hstack([f[2].mean(0), np.sqrt(np.maximum(f[2].var(0), 1e-5))])
        for n, f in blocks.items()
    }
    others = np.stack([raw[name] for name, _ in entries[half:]])
    vectors = {}
    for name in names:
        parts = np.split((raw[name] - others.mean(0)) / others.std(0), 2)
        vectors[name] = np.hstack([part / np.linalg.norm(part) for part in parts])
    assert results[2].eer == pytest.approx(reference_eer(vectors, trials), abs=1e-4)
    with pytest.raises(SVError, match="is tested; standardise with other recordings"):
        probe_layers(
            lists["tested"],
            tmp_path / "trials",
            tmp_path / "again",
            norm_wav_scp=corpus.root / "wav.scp",
            **arguments,
        )


def test_intervals_and_report(zoo, corpus, tmp_path):
    results = probe_layers(
        corpus.root / "wav.scp",
        corpus.trials,
        tmp_path,
        asr=zoo.asr(),
        resampling=Resampling(samples=50),
    )
    assert any(r.eer_ci95 and r.eer_ci95[0] <= r.eer <= r.eer_ci95[1] for r in results)
    text = write_report(results, tmp_path, "A | title")
    assert "| block 3 |" in text or "| **block 3** |" in text
    content = json.loads((tmp_path / "layer_probe.json").read_text())
    assert [layer["eer"] for layer in content["layers"]] == [r.eer for r in results]
    assert content["best"] == min(results, key=lambda r: r.eer).name
    assert (tmp_path / "layer_probe.png").read_bytes().startswith(b"\x89PNG")


def test_bad_lists_are_refused(zoo, corpus, tmp_path):
    with pytest.raises(SVError, match="give a model to probe"):
        probe_layers(corpus.root / "wav.scp", corpus.trials, tmp_path)
    (tmp_path / "wav.scp").write_text("x y.wav\n")
    with pytest.raises(SVError, match=r"wav\.scp: has no spk"):
        probe_layers(tmp_path / "wav.scp", corpus.trials, tmp_path, asr=zoo.asr())
