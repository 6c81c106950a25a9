"""The models behind the routes: encode queue, cache of embeddings, decoder graphs, prompts, everything mode.

The only part of the demo that uses `sam`. Work runs on lanes of one thread each (load a model, read a picture, encode
it, decode a prompt, search a picture for everything), so a hover never waits behind an encode, and a burst of uploads
never unpacks ten pictures at once. A request joins the `Job` of its picture and may leave at any time: the job belongs
to the service; only a search belongs to who asked for it.

`ModelShelf` keeps the models that visitors may choose within a memory budget. `LoadedModel.encode` is the seam: in this
process by default, or any function from RGB pixels to an `ImageEmbedding`.
"""

from demo.service.loading import load_service
from demo.service.models import LoadedModel
from demo.service.offers import Offer
from demo.service.service import DemoService
from demo.service.shelf import ModelShelf

__all__ = ["DemoService", "LoadedModel", "ModelShelf", "Offer", "load_service"]
