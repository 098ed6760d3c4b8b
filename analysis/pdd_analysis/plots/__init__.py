"""Plots of results: readable without colour, the same bytes for the same records."""

from pdd_analysis.plots.kinds import KINDS, draw
from pdd_analysis.plots.stages import accuracy_per_stage

__all__ = ["KINDS", "accuracy_per_stage", "draw"]
