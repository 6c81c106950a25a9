"""Whole folders: `python -m sam segment`.

`pictures` and `prompts` read, `answering` asks the model, `answers` keeps what is done so that a killed run goes on,
`formats` writes for others, `cache` keeps embeddings, `command` is the interface.
"""
