"""Everything mode against the original generator, on this machine: `python -m sam.bench`."""
