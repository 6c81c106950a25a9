"""Write a SAM decoder as an ONNX file: the command line over `sam.export`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sam import VARIANTS, load_sam
from sam.export import CONTRACTS, PRECISIONS, DecoderGraph, VerificationError, export_decoder, write_decoder

EXAMPLES = """\
examples:
  the embedded model, for a page that expects Meta's graph
      python export_onnx.py --checkpoint tiny --output decoder.onnx
  the same with int8 weights, a quarter of the size
      python export_onnx.py --checkpoint tiny --output decoder.onnx --quantize
  Meta's vit_b for samexporter or AnyLabeling
      python export_onnx.py --checkpoint sam_vit_b_01ec64.pth --output decoder.onnx --contract official-multi
  the graph that this project's page runs under the mouse, as WebGPU takes it
      python export_onnx.py --checkpoint tiny --output hover.onnx --contract hover --precision fp16

Every graph is compared with PyTorch before it is written; one that differs leaves no file (exit status 1).
Single-mask graphs follow Meta's rule, which counts the padding point: up to 2 points the best of the ambiguous
masks, from 3 points on the single mask.
"""


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        require_writable(options.output)
        model = load_sam(options.checkpoint, variant=options.model_type)
        graph = export_decoder(model, options.contract, options.precision)
        write_decoder(graph, options.output)
    except VerificationError as error:
        print(f"nothing written: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    print(describe(graph, options.output))
    return 0


def build_parser() -> argparse.ArgumentParser:
    contracts = "\n".join(f"  {contract.name:<16}{contract.clients}" for contract in CONTRACTS.values())
    parser = argparse.ArgumentParser(
        prog="export_onnx.py",
        description=f"Export a SAM decoder to ONNX, verified against PyTorch.\n\ncontracts:\n{contracts}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint", required=True, metavar="FILE|tiny", help="weights in any format sam.load_sam reads, or 'tiny'"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="the ONNX file to write")
    parser.add_argument(
        "--contract", choices=CONTRACTS, default="official", help="what the client expects (default: %(default)s)"
    )
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
        help="how weights are stored; the arithmetic stays float32 (default: %(default)s)",
    )
    weights.add_argument(
        "--quantize", action="store_const", dest="precision", const="int8", help="the same as --precision int8"
    )
    return parser


def require_writable(output: Path) -> None:
    """Refuse an output that cannot be written before any work is done."""
    if output.is_dir():
        raise IsADirectoryError(f"--output {output} is a folder; name a file")
    if not output.absolute().parent.is_dir():
        raise FileNotFoundError(f"--output {output}: there is no folder {output.absolute().parent}")
    if not os.access(output.absolute().parent, os.W_OK):
        raise PermissionError(f"--output {output}: the folder {output.absolute().parent} is not writable")


def describe(graph: DecoderGraph, output: Path) -> str:
    """What was written, in a few lines."""
    contract = CONTRACTS[graph.contract]
    lines = {
        "wrote": f"{output} ({len(graph.bytes) / 1e6:.2f} MB)",
        "model": f"{graph.model_id}, weights {graph.weights_hash[:12]}",
        "contract": f"{contract.name}, version {contract.version}, for {contract.clients}",
        "inputs": ", ".join(contract.inputs),
        "outputs": ", ".join(contract.outputs),
        "precision": graph.precision,
        "max error": f"{graph.max_error:.2g} against PyTorch (mask IoU {graph.agreement.mask_iou:.4f})",
        "sha256": graph.sha256,
    }
    return "\n".join(f"{name:<10} {value}" for name, value in lines.items())


if __name__ == "__main__":
    sys.exit(main())
