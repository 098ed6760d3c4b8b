"""Real images: what a data set holds, how it is read, prepared and split.

Nothing is imported here: ``facts`` and what it needs work without torch, the rest computes.
"""
