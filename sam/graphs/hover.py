"""The mask decoder for a moving pointer: `Prepare` runs once per picture, `Point` once per move of the mouse.

The pair computes what `MaskDecoder.predict_masks` computes, from the same modules, in an order that suits 7 tokens and
4,096 cells. It is exact: in real numbers nothing is dropped, in float32 logits differ by some 1e-5. Only the order of
products changes, because cells are many and tokens are few: nothing is done per cell that can be done per token.

Notation: head h has T tokens, Q = X Wq + bq are queries, K and V likewise, S are scores, A = softmax(S), Z the cells.

1. Once per picture. In the first block the cells are still the picture: their keys, values and queries are `Prepare`'s.
2. Tokens look at cells (`look`). S_h = Q_h K_h^T = Q_h (Z Wk_h + bk_h)^T = (Q_h Wk_h^T) Z^T + Q_h bk_h^T. The last term
   is one number per token, which softmax does not see, and is left out. A_h V_h = A_h (Z Wv_h + bv_h)
   = (A_h Z) Wv_h + bv_h, since rows of A_h sum to 1. Cells are never projected.
3. Cells look at tokens (`absorb`). S_h = (Z Wq_h + bq_h) K_h^T = Z (K_h Wq_h^T)^T + (K_h bq_h^T)^T; here the bias
   differs from token to token and stays. The heads' answers sum A_h V_h Wo_h + bo = sum A_h (V_h Wo_h + bo / heads),
   again because rows of A_h sum to 1, is one product of all A side by side, (cells, heads * T), with all offers.
4. Upscaling. A transposed convolution whose stride is its kernel size is a product: every cell becomes 2x2 cells, its
   weight is (C, 4 * C'). Normalisation and GELU act on single cells, so the cells stay rows, in whatever order, until
   only one number per mask is left of each; then they are put into place.
5. Layer normalisation of many rows is written out (`normalize_rows`): ONNX Runtime's LayerNormalization is slow in
   wasm; the same in its elementwise operators takes about half the time.

Million products per prompt (one click and padding: T = 7; an embedding of 256 x 64 x 64), for the decoder of the
published models (256 channels, 8 heads) and for `tiny`'s (128, 4), and speed in onnxruntime-web 1.30 in headless
Chromium (wasm, 1 thread, processor time, medians of interleaved runs) in times of the official graph, 256 channels:

|                                                  | products, 256 | speed | products, 128 | speed |
| ------------------------------------------------ | ------------- | ----- | ------------- | ----- |
| `official`, quantized with `quantize_dynamic`    | 1,813         | 1.00  | 597           |       |
| the modules as they are, low-res logits          | 1,813         | 0.87  | 597           |       |
| + step 1                                         | 1,409         |       |               |       |
| + step 2                                         | 1,093         |       |               |       |
| + step 3                                         | 881           |       | 223           |       |
| + step 4, with LayerNormalization                | 881           | 1.57  | 223           |       |
| + step 5: `Point` as it is (int8 and fp16 too)   | 881           | 1.7   | 223           | 4.5   |
| the kernel instead of `Point`                    | 502           | 4.1   | 138           | 10.4  |
| `Prepare`, once per picture; 10.5 and 5.2 MB     | 404           | 4.7   | 235           | 7.5   |
| `Prepare` and the kernel's share; 27.7 and 14 MB | 2,154         | 1.4   | 674           | 4.0   |

With 2 threads, wall time: `Point` 1.7, the kernel 3.3 to 3.5; with 128 channels 4.2 and about 8. A second thread gives
the official graph 1.65 times its speed and the kernel 1.45 times: every thread computes the tokens for itself.
`python -m demo.bench` measures again. Over many runs the speeds of `Point` scatter by 1.65-1.77, of the kernel by
3.7-4.25, of the narrow kernel by 9.3-11. Steps 2 and 3 were not timed alone.

The kernel (`static/js/kernel/point-kernel.js`, `static/kernels/decoder.ts`) goes on where ONNX Runtime's operators end:
cells are never written out, and upscaling keeps its pixels in the cache. It was needed: the pure graph of 881 million
products cannot reach 4 in a runtime that does 15 to 18 thousand million a second. What brought it there, in times of
the official graph: low-rank cells 2.9, chunks that stay in the cache 3.1, no denormal numbers in softmax and scores
through the token rows 3.4, shares that sum to 1 3.7, deviations from products of token rows 4.1.

Nothing gained: in the graph, upscaling in 8 blocks of cells (1.00), one mask chosen by its predicted IoU instead of
four (1 %); for `tiny`, ReLU without normalisation in upscaling (5.3 instead of 4.5 in the graph, but nothing in the
kernel, and the published structure stays), 96 channels (1.13 times as fast), one block (1.3 times).
"""

from __future__ import annotations

import json
import math

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..mask_decoder import MaskDecoder
from ..model import SAM
from ..prompt_encoder import PromptEncoder
from ..transformer import Attention, TwoWayAttentionBlock

PREPARED = ("cells", "keys", "values", "queries")
"""Names of what `Prepare` gives and `Point` takes after the points, in both their orders."""


class Prepare(nn.Module):
    """Everything that a picture without a mask prompt decides: the cells, and the first block's view of them.

    image_embeddings (1, C, h, w) -> cells (h*w, C), and for the first block their keys (heads, D, h*w) and
    values (heads, h*w, D), as tokens look at them, and their queries (h*w, heads * D), as they look at tokens.
    """

    def __init__(self, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder) -> None:
        super().__init__()
        self.prompt_encoder = prompt_encoder
        self.embedding_projection = mask_decoder.embedding_projection
        self.first_block = mask_decoder.transformer.layers[0]

    def forward(self, image_embeddings: Tensor) -> tuple[Tensor, ...]:
        return self.prepare(image_embeddings, self.prompt_encoder.embed_no_mask(1))

    def prepare(self, image_embeddings: Tensor, dense: Tensor) -> tuple[Tensor, ...]:
        cells = as_rows(self.embedding_projection(image_embeddings) + dense)
        located = cells + as_rows(self.prompt_encoder.get_dense_pe())
        tokens_to_image = self.first_block.cross_attn_token_to_image
        keys = split_heads(tokens_to_image.k_proj(located), tokens_to_image).transpose(1, 2)
        values = split_heads(tokens_to_image.v_proj(cells), tokens_to_image)
        return cells, keys, values, self.first_block.cross_attn_image_to_token.q_proj(located)


class PrepareWithMask(Prepare):
    """The same for a picture with a mask prompt, low-resolution logits (1, 1, 4h, 4w)."""

    def forward(self, image_embeddings: Tensor, mask_input: Tensor) -> tuple[Tensor, ...]:
        return self.prepare(image_embeddings, self.prompt_encoder.mask_downscaling(mask_input))


class Point(nn.Module):
    """Points on a prepared picture -> all tokens' logits (1, 1+M, 4h, 4w) and IoU estimates (1, 1+M).

    point_coords (1, N, 2) and point_labels (1, N) include box corners and padding; the rest is from `Prepare`.
    """

    def __init__(self, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder) -> None:
        super().__init__()
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    def forward(
        self, point_coords: Tensor, point_labels: Tensor, cells: Tensor, keys: Tensor, values: Tensor, queries: Tensor
    ) -> tuple[Tensor, Tensor]:
        prompts = self.prompt_encoder.embed_points(point_coords, point_labels)
        own = torch.cat([self.mask_decoder.iou_token.weight, self.mask_decoder.mask_tokens.weight])
        tokens, cells = self.transform(torch.cat([own[None], prompts], dim=1), cells, keys, values, queries)
        return self.masks(tokens, cells), self.mask_decoder.iou_prediction_head(tokens[:, 0])

    def transform(
        self, prompts: Tensor, cells: Tensor, keys: Tensor, values: Tensor, queries: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The two-way transformer: prompt tokens (1, T, C) and prepared cells -> tokens (1, T, C), cells (h*w, C)."""
        transformer = self.mask_decoder.transformer
        first, *others = transformer.layers
        positions = as_rows(self.prompt_encoder.get_dense_pe())

        tokens = look_at_each_other(first, prompts, prompts)
        attention = first.cross_attn_token_to_image
        attended = softmax_of_scaled(split_heads(attention.q_proj(tokens + prompts), attention) @ keys, attention)
        tokens = update_tokens(first, tokens, attention.out_proj(join_heads(attended @ values)))
        attention = first.cross_attn_image_to_token
        scores = queries @ block_diagonal(split_heads(attention.k_proj(tokens + prompts), attention)).T
        cells = normalize_rows(absorb(attention, cells, scores, tokens), first.norm4)

        for block in others:
            tokens = look_at_each_other(block, tokens, prompts)
            located = cells + positions
            seen = look(block.cross_attn_token_to_image, tokens + prompts, located, cells)
            tokens = update_tokens(block, tokens, seen)
            attention = block.cross_attn_image_to_token
            scores = score_cells(attention, located, tokens + prompts)
            cells = normalize_rows(absorb(attention, cells, scores, tokens), block.norm4)

        seen = look(transformer.final_attn_token_to_image, tokens + prompts, cells + positions, cells)
        return transformer.norm_final_attn(tokens + seen), cells

    def masks(self, tokens: Tensor, cells: Tensor) -> Tensor:
        """Upscale the cells as rows and weigh their channels by the mask tokens' hypernetworks: (1, 1+M, 4h, 4w)."""
        grow, norm, act, grow_again, act_again = self.mask_decoder.output_upscaling
        pixels = act(normalize_rows(quadruple(grow, cells), norm))
        pixels = act_again(quadruple(grow_again, pixels))
        hypernetworks = self.mask_decoder.output_hypernetworks_mlps
        weights = torch.cat([mlp(tokens[:, 1 + index]) for index, mlp in enumerate(hypernetworks)])
        return in_place(weights @ pixels.T, self.prompt_encoder.image_embedding_size)


def decoder_weights(model: SAM, dtype: torch.dtype = torch.float16) -> bytes:
    """The weights of `model` that decode, as safetensors under Meta's names, with the configuration as metadata.

    The page's kernel reads them: `static/js/kernel/point-kernel.js` computes `Point` in WebAssembly, without a graph.
    `dtype` stores the large ones; the small ones decide much and weigh nothing. What only `Prepare` needs stays here.
    """
    parts = {"prompt_encoder": model.prompt_encoder, "mask_decoder": model.mask_decoder}
    tensors = {
        f"{part}.{name}": tensor.detach().to("cpu", dtype if tensor.numel() >= 1024 else torch.float32).contiguous()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
        if not name.startswith(("mask_downscaling", "no_mask_embed", "embedding_projection"))
    }
    return save(tensors, {"config": json.dumps(model.config.to_dict()), "weights_hash": model.weights_hash()})


# --- attention -------------------------------------------------------------------------------------------------------


def look_at_each_other(block: TwoWayAttentionBlock, tokens: Tensor, prompts: Tensor) -> Tensor:
    """The block's self-attention of the tokens, (1, T, C) each."""
    if block.skip_first_layer_pe:
        return block.norm1(block.self_attn(q=tokens, k=tokens, v=tokens))
    located = tokens + prompts
    return block.norm1(tokens + block.self_attn(q=located, k=located, v=tokens))


def update_tokens(block: TwoWayAttentionBlock, tokens: Tensor, seen: Tensor) -> Tensor:
    """What the block does with what its tokens saw of the picture."""
    tokens = block.norm2(tokens + seen)
    return block.norm3(tokens + block.mlp(tokens))


def look(attention: Attention, tokens: Tensor, located: Tensor, cells: Tensor) -> Tensor:
    """`attention(q=tokens, k=located, v=cells)` with nothing computed per cell but its scores: step 2."""
    key_weight, value_weight = (by_head(layer.weight, attention) for layer in (attention.k_proj, attention.v_proj))
    probes = split_heads(attention.q_proj(tokens), attention) @ key_weight  # (heads, T, C)
    seen = softmax_of_scaled(probes.flatten(0, 1) @ located.T, attention) @ cells  # (heads * T, C)
    values = by_head(seen, attention) @ value_weight.transpose(1, 2)  # (heads, T, D)
    return attention.out_proj(join_heads(values) + attention.v_proj.bias)


def score_cells(attention: Attention, located: Tensor, tokens: Tensor) -> Tensor:
    """How much every cell looks at every token, before softmax: (h*w, heads * T); step 3."""
    keys = split_heads(attention.k_proj(tokens), attention)
    probes = keys @ by_head(attention.q_proj.weight, attention)  # (heads, T, C)
    bias = keys @ by_head(attention.q_proj.bias[:, None], attention)  # (heads, T, 1)
    return located @ probes.flatten(0, 1).T + bias.flatten()


def absorb(attention: Attention, cells: Tensor, scores: Tensor, tokens: Tensor) -> Tensor:
    """Cells (h*w, C) plus what they take from the tokens by `scores` (h*w, heads * T): the rest of step 3."""
    values = split_heads(attention.v_proj(tokens), attention)
    weight = by_head(attention.out_proj.weight.T, attention)  # (heads, D, C)
    offers = values @ weight + attention.out_proj.bias / attention.num_heads  # (heads, T, C)
    shares = softmax_of_scaled(scores.unflatten(1, (attention.num_heads, -1)), attention).flatten(1)
    return cells + shares @ offers.flatten(0, 1)


def softmax_of_scaled(scores: Tensor, attention: Attention) -> Tensor:
    return (scores / math.sqrt(attention.q_proj.out_features // attention.num_heads)).softmax(-1)


def split_heads(rows: Tensor, attention: Attention) -> Tensor:
    """(n, heads * D) or (1, n, heads * D) -> (heads, n, D)."""
    return rows.reshape(-1, attention.num_heads, rows.shape[-1] // attention.num_heads).transpose(0, 1)


def join_heads(x_hnd: Tensor) -> Tensor:
    """(heads, n, D) -> (1, n, heads * D)."""
    return x_hnd.transpose(0, 1).flatten(1)[None]


def by_head(rows: Tensor, attention: Attention) -> Tensor:
    """(heads * D, C) -> (heads, D, C)."""
    return rows.unflatten(0, (attention.num_heads, -1))


def block_diagonal(x_hnd: Tensor) -> Tensor:
    """(heads, n, D) -> (heads * n, heads * D), zero where the heads differ: one product serves all heads at once."""
    heads = x_hnd.shape[0]
    same = torch.eye(heads, dtype=x_hnd.dtype, device=x_hnd.device)
    return (same[:, None, :, None] * x_hnd[:, :, None]).flatten(2).flatten(0, 1)


# --- cells as rows ---------------------------------------------------------------------------------------------------


def as_rows(map_1chw: Tensor) -> Tensor:
    """(1, C, h, w) -> (h*w, C)."""
    return map_1chw[0].flatten(1).T


def normalize_rows(rows: Tensor, norm: nn.Module) -> Tensor:
    """Layer normalisation over the last axis with the parameters of `norm`, in elementwise operators: step 5."""
    centred = rows - rows.mean(-1, keepdim=True)
    spread = (centred * centred).mean(-1, keepdim=True) + norm.eps
    return centred * (1 / spread.sqrt()) * norm.weight + norm.bias


def quadruple(conv: nn.ConvTranspose2d, rows: Tensor) -> Tensor:
    """A transposed convolution of kernel and stride 2 on cells as rows: (n, C) -> (4n, C'), a cell's four together."""
    weight = conv.weight.permute(0, 2, 3, 1).flatten(1)  # (C, 2 * 2 * C')
    return torch.addmm(conv.bias.repeat(4), rows, weight).view(-1, conv.out_channels)


def in_place(masks: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """(M, h*w * 2*2 * 2*2), quarters of quarters of cells -> (1, M, 4h, 4w)."""
    h, w = grid_hw
    nested = masks.view(-1, h, w, 2, 2, 2, 2)  # mask, cell row and column, quarter's, quarter of the quarter's
    return nested.permute(0, 1, 3, 5, 2, 4, 6).reshape(1, -1, 4 * h, 4 * w)
