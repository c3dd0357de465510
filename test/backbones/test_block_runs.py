"""Mixed precision with fewer kernels, compared with plain autocast."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from espnet2_sv.backbones.block_runs import BlockRun, block_run, cast_together
from espnet2_sv.backbones.build import build_backbone
from espnet2_sv.train.batchnorm import ReducedBatchNorm, synchronise_batchnorm

DROPOUT = {"dropout_rate": 0.1, "attention_dropout_rate": 0.1}
CONFORMER = {"macaron_style": True, "rel_pos_type": "latest"}
CGMLP = {"cgmlp_linear_units": 32, "cgmlp_conv_kernel": 7, "rel_pos_type": "latest"}
# Encoders by name: kind, options, and whether outputs are those of autocast bit for bit
ENCODERS = {
    "conformer": ("conformer", CONFORMER, False),
    "conformer, absolute positions": (
        "conformer",
        {"pos_enc_layer_type": "abs_pos", "selfattention_layer_type": "selfattn"},
        False,
    ),
    "conformer, post-norm": ("conformer", {"normalize_before": False}, False),
    "conformer, stochastic depth": (
        "conformer",
        {**CONFORMER, "stochastic_depth_rate": 0.5},
        False,
    ),
    "e_branchformer": ("e_branchformer", CGMLP, True),
    "e_branchformer_ctc, self-conditioned": (
        "e_branchformer_ctc",
        CGMLP | {"interctc_layer_idx": [1], "interctc_use_conditioning": True},
        True,
    ),
    "branchformer": ("branchformer", CGMLP, True),
    "transformer": ("transformer", {"linear_units": 32}, True),
    "multiconv_conformer": (
        "multiconv_conformer",
        {"multicgmlp_kernel_sizes": "3,5", "cgmlp_linear_units": 32},
        False,
    ),
}


@pytest.fixture(params=ENCODERS)
def name(request):
    return request.param


@pytest.fixture
def backbone(name):
    torch.manual_seed(0)
    kind, options, _ = ENCODERS[name]
    sizes = {"output_size": 16, "attention_heads": 2, "num_blocks": 3}
    settings = {
        "frontend_conf": {"hop_length": 160},
        "encoder": kind,
        "encoder_conf": sizes | DROPOUT | options,
        "conditioning_vocab": 5,
    }
    return build_backbone(settings).train()


@pytest.fixture(params=["equal lengths", "padded"])
def speech(request):
    torch.manual_seed(1)
    lengths = torch.tensor([8000, 8000 if request.param == "equal lengths" else 6000])
    audio = torch.randn(2, 8000)
    audio[1, lengths[1] :] = 0.0
    return audio, lengths


def train(network, speech, dtype=None, as_espnet=False):
    """Return outputs and gradients of a pass, and the state after it."""
    network = copy.deepcopy(network)
    if as_espnet:
        network._running_encoder = lambda feats, lengths: network.encoder
    torch.manual_seed(2)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        blocks, _ = network(*speech)
    sum((block.float() ** 2).mean() for block in blocks).backward()
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return blocks, gradients, network


def distance(tensors, others):
    """Euclidean distance of two lists of tensors, relative to the second."""
    a, b = (
        torch.cat([x.detach().float().flatten() for x in y]) for y in (tensors, others)
    )
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_is_as_exact_as_autocast(name, backbone, speech, dtype):
    exact, exact_gradients, _ = train(backbone, speech)
    plain, plain_gradients, after = train(backbone, speech, dtype, as_espnet=True)
    blocks, gradients, network = train(backbone, speech, dtype)
    assert gradients.keys() == exact_gradients.keys()
    assert {g.dtype for g in gradients.values()} == {torch.float32}
    if ENCODERS[name][-1]:
        assert all(map(torch.equal, blocks, plain))
        assert all(torch.equal(g, plain_gradients[n]) for n, g in gradients.items())
    assert distance(blocks, exact) < 1.5 * distance(plain, exact)
    of_plain = distance(plain_gradients.values(), exact_gradients.values())
    assert 0 < of_plain < 0.1
    assert distance(gradients.values(), exact_gradients.values()) < 1.5 * of_plain
    for a, b in zip(network.buffers(), after.buffers(), strict=True):
        torch.testing.assert_close(a, b, atol=0.01, rtol=0.01)


def test_the_network_is_as_before_after_mixed_precision(name, backbone, speech):
    _, _, network = train(backbone, speech, torch.bfloat16)
    assert list(network.state_dict()) == list(backbone.state_dict())
    kinds = [type(module) for module in network.modules()]
    assert kinds == [type(module) for module in backbone.modules()]
    before = dict(backbone.named_parameters())
    for parameter_name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[parameter_name])
        assert isinstance(parameter, torch.nn.Parameter)


@pytest.mark.parametrize("name", ["conformer"])
def test_a_failed_block_has_its_own_weights_again(name, backbone):
    block = backbone.encoder.encoders[0]
    before = [*block.parameters(), *block.modules()]
    frames = torch.ones(2, 3, 16), torch.ones(1, 7, 16)  # positions of 4 frames, not 3
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(RuntimeError):
        block_run(block)(frames, None)
    after = [*block.parameters(), *block.modules()]
    assert all(a is b for a, b in zip(after, before, strict=True))


def test_unused_and_frozen_weights_get_no_gradient():
    weights = [torch.ones(2, 3, requires_grad=i != 1) for i in range(3)]
    used, frozen, _ = cast_together(weights, torch.bfloat16)
    (3 * used.sum() + frozen.sum()).backward()
    assert used.dtype == torch.bfloat16
    assert torch.equal(weights[0].grad, torch.full((2, 3), 3.0))
    assert weights[1].grad is weights[2].grad is None


@pytest.mark.parametrize("name", ["conformer"])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_gradients_of_distributed_training_are_the_same(
    name, backbone, speech, checkpointed, tmp_path: Path
):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", world_size=1, rank=0
    )
    try:
        _, expected, _ = train(backbone, speech, torch.bfloat16)
        backbone.grad_checkpointing = checkpointed
        wrapped = DistributedDataParallel(synchronise_batchnorm(backbone))
        for _ in range(2):  # accumulates
            torch.manual_seed(2)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                blocks, _ = wrapped(*speech)
            sum((block.float() ** 2).mean() for block in blocks).backward()
        for parameter_name, gradient in expected.items():
            found = backbone.get_parameter(parameter_name).grad
            torch.testing.assert_close(found, 2 * gradient, atol=1e-4, rtol=1e-2)
        norm = backbone.encoder.encoders[0].conv_module.norm
        assert isinstance(norm, ReducedBatchNorm) and norm.num_batches_tracked == 2
    finally:
        torch.distributed.destroy_process_group()


def test_copies_made_after_mixed_precision_are_independent(backbone, speech):
    blocks, _, network = train(backbone, speech, torch.bfloat16)
    for copied in copy.deepcopy(network), pickle.loads(pickle.dumps(network)):
        with torch.no_grad():
            for parameter in copied.parameters():
                parameter.zero_()
        again, _, _ = train(copied, speech, torch.bfloat16)
        assert not torch.equal(again[0], blocks[0])
    same, _, _ = train(network, speech, torch.bfloat16)
    assert all(map(torch.equal, same, blocks))


def test_without_mixed_precision_espnets_encoder_runs(name, backbone, speech):
    feats, lengths = backbone.features(*speech)
    assert backbone._running_encoder(feats, lengths) is backbone.encoder


def test_views_of_the_first_blocks_run_only_these(name, backbone, speech):
    backbone.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        blocks, _ = backbone(*speech)
        view = backbone.first_blocks(2)
        first, _ = view(*speech)
    assert len(first) == 2
    assert all(map(torch.equal, first, blocks))
    assert all(isinstance(run, BlockRun) for run in view._runs)


def bytes_kept(network, speech):
    """Bytes of the tensors that a pass keeps for its backward pass, each once."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        blocks, _ = network(*speech)
    for block in blocks:  # a checkpoint keeps its inputs
        pack(block)
    return sum(size for pointer, size in kept.items() if pointer not in weights)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_checkpointing_changes_neither_gradients_nor_statistics(
    backbone, speech, dtype
):
    blocks, gradients, network = train(backbone, speech, dtype)
    backbone.grad_checkpointing = True
    same_blocks, same_gradients, same = train(backbone, speech, dtype)
    assert len(same_blocks) == backbone.num_blocks
    assert all(map(torch.equal, same_blocks, blocks))
    assert gradients.keys() == same_gradients.keys()
    assert all(torch.equal(g, same_gradients[n]) for n, g in gradients.items())
    for a, b in zip(network.buffers(), same.buffers(), strict=True):
        assert torch.equal(a, b)
    assert list(same.state_dict()) == list(backbone.state_dict())


def test_checkpointing_keeps_little_for_the_backward_pass(backbone, speech):
    def of_two_blocks():
        kept = bytes_kept(backbone, speech)
        return kept - bytes_kept(backbone.first_blocks(1), speech)

    kept = of_two_blocks()
    backbone.grad_checkpointing = True
    assert of_two_blocks() < 0.25 * kept


def test_checkpointing_is_for_training(backbone, speech):
    backbone.grad_checkpointing = True
    backbone.eval()
    feats, lengths = backbone.features(*speech)
    assert backbone._running_encoder(feats, lengths) is backbone.encoder
