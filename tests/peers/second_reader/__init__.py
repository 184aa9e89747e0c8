"""A second reader of manifests, written from protocol/FORMAT.md alone.

Shares no code with Congruent. What it cannot find in that text is a fault of
the text. It judges what can be seen of a directory; mounts, and what cannot be
read, are beyond it.
"""
