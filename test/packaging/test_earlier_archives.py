"""Archives that version 0.1.0 packed are loaded, and give the same embeddings.

``packed_0_1`` holds what that version wrote into archives of small models. Of the
weights it has names, dtypes and shapes; the values come from a seed. The embeddings are
those that version 0.1.0 computed.
"""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from espnet2_sv import Speech2Embedding, Speech2TextEmbedding

PACKED = Path(__file__).parent / "packed_0_1"
ASR_SHA256 = (PACKED / "asr_sha256").read_text().strip()
EMBEDDINGS = json.loads((PACKED / "embeddings.json").read_text())


def seeded(shapes, seed):
    """Weights (name to tensor) of given dtypes and shapes, drawn from a seed."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, (dtype, shape) in sorted(shapes.items()):
        values = rng.uniform(-0.3, 0.3, shape)
        if name.endswith(("running_var", "normalize.std")):
            values = 1 + values
        if name.endswith("asr_sha256"):
            values = np.array(list(bytes.fromhex(ASR_SHA256)))
        state[name] = torch.from_numpy(np.asarray(values)).to(getattr(torch, dtype))
    return state


def build_archive(folder, path):
    """Write the archive that a folder describes."""
    shapes = json.loads((folder / "weights.json").read_text())
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name != "weights.json":
                archive.write(file, file.relative_to(folder).as_posix())
        for seed, (name, tensors) in enumerate(sorted(shapes.items())):
            stream = io.BytesIO()
            torch.save(seeded(tensors, seed), stream)
            archive.writestr(name, stream.getvalue())


def speech():
    """One second of a tone in noise (16000,)."""
    t = np.arange(16000) / 16000
    noise = np.random.default_rng(7).standard_normal(16000)
    return (0.1 * np.sin(2 * np.pi * 150 * t) + 0.02 * noise).astype(np.float32)


@pytest.fixture
def archive(tmp_path):
    def make(kind):
        path = tmp_path / f"{kind}.zip"
        build_archive(PACKED / kind, path)
        return str(path)

    return make


@pytest.mark.parametrize("kind", EMBEDDINGS)
def test_the_embedding_is_the_same(kind, archive, home):
    options = {"asr": archive("joint")} if kind == "adaptor" else {}
    embedding = Speech2Embedding.from_pretrained(archive(kind), **options)(speech())
    # relative to the largest: other processors round otherwise
    atol = 1e-5 * np.abs(EMBEDDINGS[kind]).max()
    np.testing.assert_allclose(embedding[0], EMBEDDINGS[kind], rtol=1e-4, atol=atol)


def test_text_and_embedding_come_from_one_archive(archive, home):
    _, embedding = Speech2TextEmbedding.from_pretrained(archive("joint"))(speech())
    np.testing.assert_allclose(embedding[0], EMBEDDINGS["joint"], rtol=1e-4, atol=1e-5)
