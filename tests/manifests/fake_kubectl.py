"""Stands in for kubectl where no cluster is at hand: keeps objects in a file, and knows the few calls that `cluster secrets` makes.

Under `make test-cluster` the tests use the real one and a real API server instead.
"""

import json
import os
import sys
from pathlib import Path

STATE = Path(os.environ["FAKE_KUBECTL_STATE"])


def main(arguments: list[str]) -> int:
    """Answer a call as kubectl does."""
    state = json.loads(STATE.read_text())
    words = [argument for argument in arguments if not argument.startswith("--")]
    namespace = arguments[arguments.index("--namespace") + 1] if "--namespace" in arguments else ""
    if words[:2] == ["config", "view"]:
        print(json.dumps({"current-context": "fake", "clusters": [{"cluster": {"server": "https://fake.example"}}]}))
    elif words[:2] == ["get", "namespace"]:
        print(f"namespace/{words[2]}" if words[2] in state["namespaces"] else "")
    elif words[:2] == ["get", "secrets"]:
        items = [secret for name, secret in state["secrets"].items() if name.startswith(f"{namespace}/")]
        print(json.dumps({"items": items}))
    elif words[:2] == ["get", "secret"]:
        found = state["secrets"].get(f"{namespace}/{words[-1]}")
        print(json.dumps(found) if found else "")
    elif words[0] == "create":
        given = json.load(sys.stdin)
        for secret in given.get("items", [given]):
            name = f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"
            if name in state["secrets"]:
                print(f'Error from server (AlreadyExists): secrets "{name}" already exists', file=sys.stderr)
                return 1
            state["secrets"][name] = secret
    elif "patch" in words:
        state["secrets"][f"{namespace}/{words[words.index('secret') + 1]}"]["data"] |= json.load(sys.stdin)["data"]
    else:
        print(f"fake kubectl: no answer to {arguments}", file=sys.stderr)
        return 1
    STATE.write_text(json.dumps(state))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
