"""The benchmark behind this project's figures: `python -m demo.bench`, ours and its peers in one interleaved run."""
