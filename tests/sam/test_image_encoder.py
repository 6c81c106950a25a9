"""The encoders on their own: windows, relative positions, non-square grids."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sam.image_encoder import (
    Attention,
    ImageEncoderViT,
    is_plain_inference,
    relative_positions,
    window_partition,
    window_unpartition,
)
from sam.tiny import TinyEncoder
from sam.tiny_vit import TinyViT, distance_indexes

TINY_VIT = {"embed_dims": (8, 16, 16, 32), "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4), "out_chans": 32}


@given(h=st.integers(1, 12), w=st.integers(1, 12), window=st.integers(1, 7))
def test_windows_put_back_are_the_grid(h, w, window):
    x = torch.arange(2 * h * w * 3.0).view(2, h, w, 3)
    windows, padded_hw = window_partition(x, window)
    assert windows.shape[1:] == (window, window, 3)
    torch.testing.assert_close(window_unpartition(windows, window, padded_hw, (h, w)), x)


def test_window_holds_neighbours_not_strides():
    x = torch.arange(36.0).view(1, 6, 6, 1)
    windows, _ = window_partition(x, 3)
    assert windows[1, ..., 0].tolist() == [[3, 4, 5], [9, 10, 11], [15, 16, 17]]


def test_attention_adds_the_bias_of_the_unscaled_query():
    """Against the definition, softmax(q.k / sqrt(d) + q.R_h + q.R_w), pair by pair, on a non-square grid."""
    h, w, heads, dim = 3, 4, 2, 8
    attention = Attention(dim, heads, qkv_bias=True, span_hw=(h, w))
    nn.init.normal_(attention.rel_pos_h)
    nn.init.normal_(attention.rel_pos_w)
    x = torch.randn(1, h, w, dim)

    q, k, v = attention.qkv(x).view(h * w, 3, heads, dim // heads).unbind(1)
    scores = torch.empty(heads, h * w, h * w)
    for i in range(h * w):
        for j in range(h * w):
            row = attention.rel_pos_h[i // w - j // w + h - 1]
            column = attention.rel_pos_w[i % w - j % w + w - 1]
            scores[:, i, j] = (q[i] * k[j]).sum(-1) / (dim // heads) ** 0.5 + q[i] @ row + q[i] @ column
    expected = torch.einsum("nij,jnc->inc", scores.softmax(-1), v).reshape(1, h, w, dim)
    torch.testing.assert_close(attention(x), attention.proj(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scores", [1, 40, 200, 10_000])
def test_attention_in_tiles_answers_the_same(monkeypatch, scores):
    """Rows of one head, several heads of one picture, everything at once: in tiles of any size."""
    attention = Attention(8, 2, qkv_bias=True, span_hw=(3, 4))
    nn.init.normal_(attention.rel_pos_h)
    nn.init.normal_(attention.rel_pos_w)
    x = torch.randn(3, 3, 4, 8)
    expected = attention(x)  # with gradients: scaled_dot_product_attention over all
    monkeypatch.setattr("sam.image_encoder.TILE_BYTES", 4 * scores)
    monkeypatch.setattr(attention, "_attend", None)
    with torch.no_grad():
        torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("use_rel_pos", [True, False])
@pytest.mark.parametrize("hw", [(64, 96), (48, 48), (112, 80)])
def test_blocks_that_take_turns_answer_the_same(monkeypatch, hw, qkv_bias, use_rel_pos):
    """Windows of 3 cells on grids that they fit, and that they do not fit: what pads them takes part all the same."""
    options = {"out_chans": 16, "window_size": 3, "qkv_bias": qkv_bias, "use_rel_pos": use_rel_pos}
    encoder = ImageEncoderViT(hw, 16, 32, 2, 4, global_attn_indexes=(1,), **options)
    for weight in encoder.parameters():
        nn.init.normal_(weight, std=0.2)
    x = torch.randn(2, 3, *hw)
    expected = encoder(x)
    monkeypatch.setattr("sam.image_encoder.TURN_TOKENS", 20)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), expected, atol=1e-4, rtol=1e-4)


def test_mixed_precision_and_graphs_do_not_take_turns():
    with torch.no_grad():
        assert is_plain_inference(torch.zeros(1))
        assert not is_plain_inference(torch.zeros(1, dtype=torch.bfloat16))
        with torch.autocast("cpu", torch.bfloat16):
            assert not is_plain_inference(torch.zeros(1))
    assert not is_plain_inference(torch.zeros(1))


def test_relative_positions_of_another_length_are_interpolated():
    table = torch.arange(5.0)[:, None]  # distances -2 .. 2
    assert relative_positions(3, table)[0, :, 0].tolist() == [2, 1, 0]
    assert relative_positions(6, table).shape == (6, 6, 1)


@pytest.mark.parametrize("hw", [(64, 128), (128, 64), (96, 96)])
def test_vit_takes_non_square_pictures(hw):
    encoder = ImageEncoderViT(hw, 16, 32, 2, 4, out_chans=16, window_size=3, global_attn_indexes=(1,))
    assert encoder(torch.randn(2, 3, *hw)).shape == (2, 16, hw[0] // 16, hw[1] // 16)


def test_vit_works_without_relative_positions_and_without_windows():
    options = {"use_rel_pos": False, "window_size": 0, "qkv_bias": False, "global_attn_indexes": ()}
    encoder = ImageEncoderViT(64, 16, 32, 2, 4, out_chans=16, **options)
    assert encoder(torch.randn(1, 3, 64, 64)).shape == (1, 16, 4, 4)


def test_vit_refuses_another_size_and_names_both():
    encoder = ImageEncoderViT(64, 16, 32, 1, 4, out_chans=16, global_attn_indexes=())
    with pytest.raises(ValueError, match=r"\(64, 64\).*\(64, 80\)"):
        encoder(torch.randn(1, 3, 64, 80))


@pytest.mark.parametrize("hw", [(64, 64), (64, 160), (208, 96)])
def test_tiny_vit_ends_at_stride_16_on_any_grid(hw):
    encoder = TinyViT(**TINY_VIT).eval()
    assert encoder(torch.randn(1, 3, *hw)).shape == (1, 32, hw[0] // 16, hw[1] // 16)


def test_tiny_vit_refuses_what_its_stride_does_not_divide():
    with pytest.raises(ValueError, match=r"16 pixels, got \(64, 72\)"):
        TinyViT(**TINY_VIT)(torch.randn(1, 3, 64, 72))


def test_tiny_vit_biases_depend_on_distance_alone():
    index = distance_indexes(3)
    assert index.shape == (9, 9) and torch.equal(index, index.T)
    assert index[0].tolist() == list(range(9))
    assert index[4].tolist() == [4, 3, 4, 1, 0, 1, 4, 3, 4]


def test_tiny_vit_head_fits_the_weights_it_is_given():
    encoder = TinyViT(**TINY_VIT)
    weights = encoder.state_dict() | {"head.weight": torch.ones(10, 32), "head.bias": torch.ones(10)}
    encoder.load_state_dict(weights)
    assert encoder.head.out_features == 10 and (encoder.head.weight == 1).all()


@pytest.mark.parametrize("hw", [(64, 64), (64, 192)])
def test_tiny_gives_the_published_grid(hw):
    encoder = TinyEncoder(hw, widths=(8, 8, 16, 16), depths=(1, 1, 1, 1), num_heads=2, out_chans=32).eval()
    assert encoder(torch.randn(1, 3, *hw)).shape == (1, 32, hw[0] // 16, hw[1] // 16)


def test_tiny_looks_at_the_halved_picture():
    encoder = TinyEncoder(64, widths=(8, 8, 16, 16), depths=(1, 1, 1, 1), num_heads=2, out_chans=32).eval()
    half = torch.randn(1, 3, 32, 32)
    doubled = half.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(encoder(doubled), encoder.features(half), atol=1e-5, rtol=0)
