"""The steps as Kubeflow Pipelines components: one folder a component, each a thin face over `lakeline`."""
