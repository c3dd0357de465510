import copy
import threading

import pytest
import torch

from espnet2_sv.errors import SVError
from espnet2_sv.inference.waveforms import (
    WaveformEmbedder,
    clone_sharing_weights,
    parallel_map,
)
from espnet2_sv.models.load import load_speaker_model


@pytest.fixture
def cores():
    """Pretend that torch may use three cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def test_twins_share_weights_and_nothing_else():
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    other = clone_sharing_weights({"network": network}, [network])["network"]
    assert all(
        a is b for a, b in zip(network.parameters(), other.parameters(), strict=True)
    )
    assert all(a is b for a, b in zip(network.buffers(), other.buffers(), strict=True))
    seen = []
    network[0].register_forward_hook(lambda *_: seen.append(1))
    other.eval()(torch.zeros(1, 3))
    assert not seen and network.training


def test_pieces_are_done_at_once_and_come_back_in_order(cores):
    together = threading.Barrier(cores)

    def work(member, piece):
        together.wait()
        return member, piece, torch.get_num_threads()

    found = list(parallel_map(["a", "b", "c"], work, range(6)))
    assert [piece for _, piece, _ in found] == list(range(6))
    assert {member for member, _, _ in found[:3]} == {"a", "b", "c"}
    assert {threads for *_, threads in found} == {1}
    assert torch.get_num_threads() == cores


def test_an_error_ends_it_and_leaves_the_number_of_threads(cores):
    def work(member, piece):
        if piece == 1:
            raise SVError("piece 1 is bad")
        return piece

    with pytest.raises(SVError, match="piece 1"):
        list(parallel_map(["a", "b"], work, range(50)))
    assert torch.get_num_threads() == cores


@pytest.mark.parametrize("kind", ["transfer-like", "adaptor"])
def test_embeddings_are_those_of_one_core(kind, zoo, speaker_exp, cores):
    source = zoo.adaptor() if kind == "adaptor" else speaker_exp
    model, _ = load_speaker_model(source)
    generator = torch.Generator().manual_seed(0)
    waves = [
        0.1 * torch.randn(n, generator=generator) for n in range(8000, 40000, 1500)
    ]
    torch.set_num_threads(1)
    expected = WaveformEmbedder(model, batch_seconds=4.0, max_seconds=4.0)(waves)
    torch.set_num_threads(cores)
    embedder = WaveformEmbedder(model, batch_seconds=4.0, max_seconds=4.0)
    for _ in range(3):
        torch.testing.assert_close(embedder(waves), expected, atol=1e-5, rtol=1e-4)
    before = copy.deepcopy(model.state_dict())
    embedder(waves)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
