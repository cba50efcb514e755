"""Data: the spec of a data set, and the steps from a source to clean rows in the lake."""
