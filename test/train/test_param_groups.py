import pytest
import torch

from espnet2_sv.train.param_groups import parameter_groups


class Backbone(torch.nn.Module):
    num_blocks = 2

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Linear(2, 2)
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(2, 2) for _ in range(2)])
        self.unused = torch.nn.LayerNorm(2).requires_grad_(False)

    def parameter_groups(self):
        layers = [self.embed, *self.blocks]
        return [(depth, list(m.parameters())) for depth, m in enumerate(layers)]


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.head = torch.nn.Linear(2, 2)


def learning_rates(model, groups):
    rates = {id(p): g["lr"] for g in groups for p in g["params"]}
    return {n: rates[id(p)] for n, p in model.named_parameters() if id(p) in rates}


def test_learning_rate_decreases_towards_lower_blocks():
    model = Model()
    rates = learning_rates(
        model, parameter_groups(model, lr=1.0, encoder_lr_factor=0.1, layer_decay=0.5)
    )
    assert rates["head.weight"] == 1.0
    assert rates["backbone.blocks.1.weight"] == pytest.approx(0.1)
    assert rates["backbone.blocks.0.weight"] == pytest.approx(0.05)
    assert rates["backbone.embed.weight"] == pytest.approx(0.025)


def test_every_trainable_parameter_is_in_one_group():
    model = Model()
    groups = parameter_groups(
        model, lr=1.0, encoder_lr_factor=0.1, exclude_weight_decay=True
    )
    listed = [id(p) for g in groups for p in g["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in model.parameters() if p.requires_grad}


def test_biases_can_be_excluded_from_weight_decay():
    model = Model()
    groups = parameter_groups(model, lr=1.0, exclude_weight_decay=True)
    decays = {id(p): g.get("weight_decay") for g in groups for p in g["params"]}
    assert decays[id(model.head.bias)] == 0.0
    assert decays[id(model.head.weight)] is None
