"""The commands; each imports what it uses when it is called, so that `--help` is quick."""
