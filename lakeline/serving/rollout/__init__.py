"""Releases on Kubernetes: the objects that a model is served by, and how one version takes another's place there."""
