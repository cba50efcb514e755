"""From a version in the registry to answers: the scoring server, where it runs, and how one version takes another's place."""
