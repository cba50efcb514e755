"""A cluster that runs Lakeline: its secrets, its services, whether they are healthy. All of it through kubectl."""
