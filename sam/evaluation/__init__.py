"""How good a model is, with simulated clicks and boxes, beside answers that need no model.

>>> report = evaluate(load_sam("tiny"), find_records("pictures"))
>>> print(report.as_markdown())

Protocol: up to six masks a picture, each at least 0.25 % of it, seeded. First click: the mask's deepest point, the
picture's border counted as outside; the answer is the best of the three by *predicted* IoU. Corrective click: the
deepest point over both error regions, previous logits fed back, single mask. Box: [xmin, ymin, xmax + 1, ymax + 1],
single mask. IoU at original resolution, unknown pixels left out.
"""

from .contact_sheet import draw_contact_sheet
from .measuring import evaluate
from .report import Report, Row

__all__ = ["Report", "Row", "draw_contact_sheet", "evaluate"]
