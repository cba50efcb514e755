"""Releases on Kubernetes: the only place that talks to its API."""
