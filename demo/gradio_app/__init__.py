"""The page for browsers that compute nothing: the same service, with every mask made on the server, in Gradio.

`desk` is what one visitor has before them, as values; `visits` keeps visitors apart; `work` does each step once, for
the page (`layout`, `page`) and for programs (`endpoints`); `views` and `drawing` show it; `gate` stands before it all.

Gradio can fetch files by address and call home; here it can do neither. Analytics are off, fonts are the system's, the
gate lets through only the routes of this page and its clients, and components take uploaded files alone.
"""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read once, while gradio is imported

from demo.gradio_app.mounting import build_blocks, mount_gradio

__all__ = ["build_blocks", "mount_gradio"]
