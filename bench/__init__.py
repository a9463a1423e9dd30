"""Measurements beside the real programs, as ratios in one run; never a test, never part of CI."""
