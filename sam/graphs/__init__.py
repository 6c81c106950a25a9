"""ONNX graphs: the decoder arranged for each client, rewritten small, checked. `sam.export` makes the files."""
