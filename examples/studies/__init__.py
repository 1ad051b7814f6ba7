"""What the studies beside this folder share: trainings, a grid of them that may be stopped, tables and curves."""
