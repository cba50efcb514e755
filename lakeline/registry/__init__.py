"""The registry of models in MLflow: register, promote, roll back, and say where each version came from and stands."""

from lakeline.registry.ending import record_end
from lakeline.registry.gates import Gate
from lakeline.registry.moves import history, revert
from lakeline.registry.promotion import Decision, evaluation_of, promote, promote_by_hand
from lakeline.registry.records import Move
from lakeline.registry.registration import Registered, register
from lakeline.registry.rollback import roll_back
from lakeline.registry.store import store_version
from lakeline.registry.versions import VersionInfo, models, version_info

__all__ = [
    "Decision",
    "Gate",
    "Move",
    "Registered",
    "VersionInfo",
    "evaluation_of",
    "history",
    "models",
    "promote",
    "promote_by_hand",
    "record_end",
    "register",
    "revert",
    "roll_back",
    "store_version",
    "version_info",
]
