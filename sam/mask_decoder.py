"""The mask decoder: tokens and picture go through the transformer and come out as masks with predicted IoU.

Source: SAM paper appendix A, `segment_anything.modeling.mask_decoder`. Parameter names are Meta's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import MLP, LayerNorm2d


class MaskDecoder(nn.Module):
    """One single-mask token and `num_multimask_outputs` tokens for ambiguous prompts, an IoU estimate for each.

    `embedding_dim`: channels of the embedding where they differ from `transformer_dim`; they are projected first.
    """

    def __init__(
        self,
        transformer_dim: int,
        transformer: nn.Module,
        num_multimask_outputs: int = 3,
        iou_head_depth: int = 3,
        iou_head_hidden_dim: int = 256,
        embedding_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.transformer_dim = transformer_dim
        self.num_multimask_outputs = num_multimask_outputs
        self.iou_head_depth = iou_head_depth
        self.iou_head_hidden_dim = iou_head_hidden_dim
        self.num_mask_tokens = num_multimask_outputs + 1
        self.transformer = transformer
        narrower = embedding_dim not in (None, transformer_dim)
        self.embedding_projection = nn.Conv2d(embedding_dim, transformer_dim, 1) if narrower else nn.Identity()
        self.iou_token = nn.Embedding(1, transformer_dim)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, transformer_dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(transformer_dim, transformer_dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(transformer_dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(transformer_dim // 4, transformer_dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(transformer_dim, transformer_dim, transformer_dim // 8, 3) for _ in range(self.num_mask_tokens)
        )
        self.iou_prediction_head = MLP(transformer_dim, iou_head_hidden_dim, self.num_mask_tokens, iou_head_depth)

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        """Decode; `multimask_output` picks the three ambiguous masks, else the single one.

        image_embeddings (I, E, h, w), image_pe (1, C, h, w), sparse (B, N, C), dense (B, C, h, w), where E is
        `embedding_dim`, C is `transformer_dim` (the same in every published checkpoint), and B is a multiple of I:
        consecutive prompts belong to the same picture. Returns logits (B, M, 4h, 4w), IoU (B, M).
        """
        masks, iou = self.predict_masks(image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings)
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        return masks[:, chosen], iou[:, chosen]

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """All tokens' masks, the single-mask token first: logits (B, 1+M, 4h, 4w) and IoU estimates (B, 1+M)."""
        prompts = sparse_prompt_embeddings.shape[0]
        own_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own_tokens.expand(prompts, -1, -1), sparse_prompt_embeddings], dim=1)

        source = self.embedding_projection(image_embeddings)
        if source.shape[0] != prompts:
            source = source.repeat_interleave(prompts // source.shape[0], dim=0)
        source = source + dense_prompt_embeddings
        hidden, keys = self.transformer(source, image_pe.expand(prompts, -1, -1, -1), tokens)
        iou_token = hidden[:, 0]
        mask_tokens = hidden[:, 1 : 1 + self.num_mask_tokens]

        upscaled = self.output_upscaling(keys.transpose(1, 2).unflatten(2, source.shape[-2:]))
        weights = torch.stack(
            [mlp(mask_tokens[:, index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )
        masks = (weights @ upscaled.flatten(2)).unflatten(2, upscaled.shape[-2:])
        return masks, self.iou_prediction_head(iou_token)
