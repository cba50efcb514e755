"""Fault campaign: runs are killed, stores taken away, disks filled, runs doubled; after each fault, what Lakeline promises is checked.

`python -m tests.campaign --faults 100 --seed 1` (or `make campaign`). Docs: docs/RELIABILITY.md.
"""
