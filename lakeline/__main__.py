"""The door of the `lakeline` command: sees to it that what is imported behind it is ours."""

import sys

from lakeline.interpreter import settle


def main() -> None:
    """Run the command."""
    settle(["-m", "lakeline", *sys.argv[1:]])
    from pipelines.cli import main as run

    run()


if __name__ == "__main__":
    main()
