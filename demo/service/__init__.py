"""The model behind the routes: encode queue, cache of embeddings, decoder graphs, prompts, everything mode.

The only part of the demo that uses `sam`. Work runs on lanes of one thread each (read a picture, encode it, decode a
prompt, search a picture for everything), so a hover never waits behind an encode, and a burst of uploads never unpacks
ten pictures at once. A request joins the `Job` of its picture and may leave at any time: the job belongs to the
service; only a search belongs to who asked for it.

`DemoService.encode` is the seam: in this process by default, or any function from RGB pixels to an `ImageEmbedding`.
"""

from demo.service.service import DemoService, load_service

__all__ = ["DemoService", "load_service"]
