"""A/B tests: the challenger beside production, judged by the truth when it arrives."""
