"""A crowd before a real server: `python -m demo.bench --only crowd`, or by itself with times of one's own.

`album` has the pictures and what their embeddings must be, `visitor` what one of the crowd does, `tally` counts what
was answered, `probe` measures from a process of its own how long files and cached embeddings take meanwhile, `run` puts
it all together and stops the server under load.
"""

from demo.bench.crowd.run import measure

__all__ = ["measure"]
