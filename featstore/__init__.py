"""The long memory: rows of features on disk, with a ledger of how old each is.

from featstore import FeatureSpec, FeatureStore
"""

from featstore.errors import (
    FeatureStoreError,
    StoreExistsError,
    StoreFormatError,
    StoreLockedError,
    StoreNotFoundError,
    StoreSpecError,
    StoreValueError,
    UnknownVideoError,
)
from featstore.spec import FeatureSpec
from featstore.store import FeatureStore
from featstore.videos import VideoRecord

__all__ = [
    "FeatureSpec",
    "FeatureStore",
    "FeatureStoreError",
    "StoreExistsError",
    "StoreFormatError",
    "StoreLockedError",
    "StoreNotFoundError",
    "StoreSpecError",
    "StoreValueError",
    "UnknownVideoError",
    "VideoRecord",
]
