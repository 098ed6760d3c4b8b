"""Tests of identities, files, the store, steps, sets and records."""
