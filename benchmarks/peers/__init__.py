"""The inner loops of the original repositories, restated plainly, beside ours on the same draws.

``plain.py`` holds what one would write by hand (and what the originals do): eager autograd with
everything in one graph, one class after the other in Python, a ``DataLoader``, torch's own handling
of memory. ``ours.py`` runs what a user gets. ``problems.py`` makes the data that both work on,
``turns.py`` the processes that take turns.
"""
