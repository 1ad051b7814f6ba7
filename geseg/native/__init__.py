"""Steerable convolutions in irreps: the same functions as the dense ones, in fewer multiplications."""
