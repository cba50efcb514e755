"""Training: the steps from a commit of clean rows to a scored model."""
