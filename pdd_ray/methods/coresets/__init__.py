"""Coreset selection: herding, k-center, forgetting, random, and DREAM's clustering."""
