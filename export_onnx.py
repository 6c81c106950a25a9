"""Write a SAM as ONNX files for a frontend: the command line over `sam.bundle`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sam import VARIANTS, load_sam
from sam.bundle import FOLDERS, FRONTENDS, PARTS, Order, fill, inspect
from sam.export import OPSETS, PRECISIONS, Form, Graph, VerificationError
from sam.graphs.contracts import DECODERS, PAGE, PREPROCESSING
from sam.graphs.rewrites import OPSET

EXAMPLES = """\
an example per frontend:
  Meta's web demo, a page with onnxruntime-web
      python export_onnx.py --checkpoint tiny --output decoder.onnx
  samexporter, AnyLabeling
      python export_onnx.py --checkpoint sam_vit_b_01ec64.pth --contract official-multi --output decoder.onnx
      python export_onnx.py --checkpoint sam_vit_b_01ec64.pth --contract official-multi --part encoder \\
          --precision uint8 --output encoder.onnx
  labelme
      python export_onnx.py --checkpoint mobile_sam.pt --contract labelme --output decoder.onnx
      python export_onnx.py --checkpoint mobile_sam.pt --contract labelme --part encoder --output encoder.onnx
  CVAT
      python export_onnx.py --checkpoint sam_vit_h_4b8939.pth --contract cvat --output decoder.onnx
  transformers.js
      python export_onnx.py --checkpoint tiny --contract transformers-js --precision fp16 --output tiny-onnx
  EdgeSAM's tools
      python export_onnx.py --checkpoint mobile_sam.pt --contract edgesam --output decoder.onnx
      python export_onnx.py --checkpoint mobile_sam.pt --contract edgesam --part encoder --output encoder.onnx
  this project's page
      python export_onnx.py --checkpoint tiny --contract hover --precision int8 --output hover
  does a file belong to these weights, and how close is it?
      python export_onnx.py --checkpoint tiny --verify decoder.onnx

Every graph is compared with PyTorch before it is written; one that differs leaves no file (exit status 1).
Single-mask graphs (official, labelme, cvat) follow Meta's rule, which counts the padding point: up to 2 points the
best of the ambiguous masks by predicted IoU, from 3 points on the single mask. A box alone has 2 points.
"""


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        order = Order(options.contract, options.part, options.preprocess, Form(options.precision, options.opset))
        if options.verify:
            return check(order, options)
        require_writable(options.output, order)
        bundle = fill(order, load_sam(options.checkpoint, variant=options.model_type))
        for path, graph in bundle.write(options.output).items():
            print(describe(graph, path))
    except VerificationError as error:
        print(f"{'not the same' if options.verify else 'nothing written'}: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    return 0


def build_parser() -> argparse.ArgumentParser:
    clients = {name: rules.clients for name, rules in DECODERS.items()} | {"hover": PAGE}
    contracts = "\n".join(
        f"  {name:<16}{'folder  ' if name in FOLDERS else 'file    '}{clients[name]}" for name in FRONTENDS
    )
    parser = argparse.ArgumentParser(
        prog="export_onnx.py",
        description=f"Export a SAM to ONNX, verified against PyTorch.\n\ncontracts:\n{contracts}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint", required=True, metavar="FILE|tiny", help="weights in any format sam.load_sam reads, or 'tiny'"
    )
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument(
        "--output", type=Path, metavar="PATH", help="the file, or for some contracts the folder, to write"
    )
    task.add_argument(
        "--verify", type=Path, metavar="PATH", help="write nothing; compare this file or folder with the checkpoint"
    )
    parser.add_argument("--contract", choices=FRONTENDS, default="official", help="who loads it (default: %(default)s)")
    parser.add_argument(
        "--part",
        choices=PARTS,
        help="default: both for transformers-js, else the decoder; cvat and hover have no encoder",
    )
    parser.add_argument(
        "--preprocess",
        choices=PREPROCESSING,
        help="who normalises and pads the encoder's picture; inside: it takes RGB 0-255 of shape (H, W, 3), resized "
        "to fit (default: inside for official-multi, else outside)",
    )
    parser.add_argument("--opset", type=int, default=OPSET, help=f"{OPSETS[0]}-{OPSETS[-1]} (default: %(default)s)")
    parser.add_argument(
        "--model-type",
        choices=[*VARIANTS, "medsam"],
        help="refuse other weights; needed for medsam (default: inferred)",
    )
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="fp16, int8: how weights are stored, arithmetic stays float32; uint8: quantized as others do, products of "
        "bytes, what transformers.js calls q8 (default: %(default)s)",
    )
    weights.add_argument(
        "--quantize", action="store_const", dest="precision", const="int8", help="the same as --precision int8"
    )
    return parser


def check(order: Order, options: argparse.Namespace) -> int:
    """Compare files with the checkpoint and say how close they are."""
    if not options.verify.exists():
        raise FileNotFoundError(f"--verify {options.verify}: there is no such file or folder")
    model = load_sam(options.checkpoint, variant=options.model_type)
    for name, agreement in inspect(options.verify, model, order):
        print(f"{name}: max error {agreement.max_error:.2g} against PyTorch (mask IoU {agreement.mask_iou:.4f})")
    return 0


def require_writable(output: Path, order: Order) -> None:
    """Refuse an output that cannot be written before any work is done."""
    if order.is_folder and output.is_file():
        raise NotADirectoryError(f"--output {output} is a file; {order.contract} is a folder of files")
    if not order.is_folder and output.is_dir():
        raise IsADirectoryError(f"--output {output} is a folder; name a file")
    parent = output if output.is_dir() else output.absolute().parent
    if not parent.is_dir():
        raise FileNotFoundError(f"--output {output}: there is no folder {parent}")
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"--output {output}: the folder {parent} is not writable")


def describe(graph: Graph, path: Path) -> str:
    """What was written, in a few lines."""
    lines = {
        "wrote": f"{path} ({len(graph.bytes) / 1e6:.2f} MB)",
        "model": f"{graph.model_id}, weights {graph.weights_hash[:12]}",
        "contract": f"{graph.contract}, version {graph.contract_version}",
        "inputs": ", ".join(graph.inputs),
        "outputs": ", ".join(graph.outputs),
        "precision": graph.precision,
        "max error": f"{graph.max_error:.2g} against PyTorch (mask IoU {graph.agreement.mask_iou:.4f})",
        "sha256": graph.sha256,
    }
    return "\n".join(f"{name:<10} {value}" for name, value in lines.items())


if __name__ == "__main__":
    sys.exit(main())
