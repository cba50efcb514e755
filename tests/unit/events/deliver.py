"""Deliveries to a data set's main, made as `publish` makes them."""

from lakeline.lake import CommitId, Lake


def deliver(lake: Lake, arrival: str, **metadata: str) -> CommitId:
    """Merge a delivery into main as `publish` does, by a branch with commits of its own."""
    branch = f"ingest-{arrival}"
    lake.create_branch(branch, "main")
    lake.commit(branch, {f"raw/{arrival}.parquet": f"raw {arrival}".encode()}, "Ingest", {"arrivals": arrival})
    lake.commit(branch, {f"clean/{arrival}.parquet": f"clean {arrival}".encode()}, "Transform")
    commit = lake.merge(branch, "main", f"Publish {arrival}", {"arrivals": arrival, "rows_clean": "1", **metadata})
    lake.delete_branch(branch)
    return commit
