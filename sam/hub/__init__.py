"""Checkpoints that others have published: which there are, how they are laid out and how they come to this machine."""
