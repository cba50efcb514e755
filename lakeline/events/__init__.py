"""What happens in a lake, said to those who act on it: which commit is a delivery, whose run it is, which ones nobody has seen."""

from lakeline.events.deliveries import Fate, Unseen, claim, deliveries, fate, fates, unseen
from lakeline.events.payload import Arrival, MalformedEvent, Merge, parse

__all__ = ["Arrival", "Fate", "MalformedEvent", "Merge", "Unseen", "claim", "deliveries", "fate", "fates", "parse", "unseen"]
