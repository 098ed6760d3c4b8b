"""What tests of other packages need: a tiny data set, and the facts that every method keeps.

May import everything below the runtime; needs pytest, which only tests have.
"""
