"""Figures of merit; numpy."""
