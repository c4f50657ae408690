"""The long memory: rows of features on disk, with a ledger of how old each is.

from featstore import FeatureSpec, FeatureStore
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from featstore.errors import (
    FeatureStoreError,
    StoreExistsError,
    StoreFormatError,
    StoreLockedError,
    StoreNotFoundError,
    StoreSpecError,
    StoreTransferError,
    StoreValueError,
    StoreWriteError,
    UnknownVideoError,
)

if TYPE_CHECKING:
    from featstore.pack import pack_store
    from featstore.pull import pull_store
    from featstore.push import push_store
    from featstore.rebuild import compact_store, merge_stores, split_store
    from featstore.spec import FeatureSpec
    from featstore.store import FeatureStore
    from featstore.unpack import unpack_store
    from featstore.videos import VideoRecord

# Loaded when first asked for: the command line needs the errors at once, but pandas only for some commands.
_HOMES = {
    "FeatureSpec": "spec",
    "FeatureStore": "store",
    "VideoRecord": "videos",
    "compact_store": "rebuild",
    "merge_stores": "rebuild",
    "pack_store": "pack",
    "pull_store": "pull",
    "push_store": "push",
    "split_store": "rebuild",
    "unpack_store": "unpack",
}

__all__ = [
    "FeatureSpec",
    "FeatureStore",
    "FeatureStoreError",
    "StoreExistsError",
    "StoreFormatError",
    "StoreLockedError",
    "StoreNotFoundError",
    "StoreSpecError",
    "StoreTransferError",
    "StoreValueError",
    "StoreWriteError",
    "UnknownVideoError",
    "VideoRecord",
    "compact_store",
    "merge_stores",
    "pack_store",
    "pull_store",
    "push_store",
    "split_store",
    "unpack_store",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"featstore.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'featstore' has no attribute {name!r}")
