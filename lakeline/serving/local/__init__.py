"""Serving on this machine: server processes behind one socket a variant, and a supervisor that swaps them without a dropped request."""
