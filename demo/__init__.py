"""The demo: a server that encodes a picture once, and a page that decodes masks from it under the mouse."""
