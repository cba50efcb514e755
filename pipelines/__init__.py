"""The steps wired up as pipelines, and the `lakeline` command that runs them."""
