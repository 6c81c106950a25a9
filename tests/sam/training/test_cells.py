"""A decoder that sees some of the cells gives exactly these cells' logits, but for what attention averages over."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam.training.cells import gather_cells, gather_patches, patch_positions, sample_cells


@given(st.sampled_from([4, 8, 16]), st.integers(1, 4), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_every_block_is_represented_and_no_cell_twice(grid, per_block, seed):
    torch.manual_seed(seed)
    cells = sample_cells(grid, per_block)
    blocks = (cells // grid // 2) * (grid // 2) + cells % grid // 2
    assert len(cells.unique()) == len(cells) == per_block * grid * grid // 4
    assert torch.equal(blocks, torch.arange(grid * grid // 4).repeat_interleave(per_block))


@given(st.sampled_from([4, 8]), st.integers(1, 4), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_a_patch_holds_the_values_at_its_positions(grid, per_block, seed):
    torch.manual_seed(seed)
    values = torch.rand(2, 4 * grid, 4 * grid)
    cells = sample_cells(grid, per_block)
    x, y = patch_positions(cells, grid).long().unbind(-1)
    assert torch.equal(gather_patches(values, cells).flatten(1), values[:, y, x])


def test_all_cells_decode_as_the_whole_picture(small_model):
    model = small_model()
    grid = 8
    torch.manual_seed(1)
    embedding, tokens = torch.randn(1, 64, grid, grid), torch.randn(3, 2, 128)
    dense, position = torch.randn(3, 128, grid, grid), model.prompt_encoder.get_dense_pe()
    whole, iou = model.mask_decoder.predict_masks(embedding, position, tokens, dense)
    cells = sample_cells(grid, 4)
    seen, places, prompts = (gather_cells(each, cells) for each in (embedding, position, dense))
    some, same_iou = model.mask_decoder.predict_masks(seen, places, tokens, prompts)
    for token in range(whole.shape[1]):
        torch.testing.assert_close(some[:, token], gather_patches(whole[:, token], cells), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(same_iou, iou, atol=1e-5, rtol=1e-4)
