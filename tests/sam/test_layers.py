"""The shared layers agree with PyTorch's own where those exist."""

import torch
from torch import nn

from sam.layers import MLP, Conv2dBN, LayerNorm2d


def test_layer_norm_2d_is_layer_norm_over_channels():
    x = torch.randn(2, 6, 3, 5)
    ours, theirs = LayerNorm2d(6), nn.LayerNorm(6, eps=1e-6)
    for norm in (ours, theirs):
        nn.init.constant_(norm.weight, 1.7)
        nn.init.constant_(norm.bias, -0.3)
    expected = theirs(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(ours(x), expected, atol=1e-5, rtol=0)


def test_mlp_has_no_activation_after_its_last_layer():
    mlp = MLP(4, 8, 2, 3)
    assert [layer.out_features for layer in mlp.layers] == [8, 8, 2]
    nn.init.zeros_(mlp.layers[-1].weight)
    nn.init.constant_(mlp.layers[-1].bias, -1.0)
    assert (mlp(torch.randn(3, 4)) == -1).all()


def test_conv_bn_keeps_or_halves_the_size():
    x = torch.randn(1, 4, 10, 6)
    assert Conv2dBN(4, 8, 3)(x).shape == (1, 8, 10, 6)
    assert Conv2dBN(4, 8, 3, 2, groups=4)(x).shape == (1, 8, 5, 3)
    assert [name for name, _ in Conv2dBN(4, 8).named_children()] == ["c", "bn"]
