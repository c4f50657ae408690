"""Errors a user can cause; every one is also a child of the matching builtin."""


class LongtalError(Exception):
    """Base of every error that longtal raises for something a user can mend."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The message as it is shown, line by line: of nearly all errors one."""
        return (str(self),)


class FeatureStoreError(LongtalError):
    """Base of the store's own errors."""


class StoreFormatError(FeatureStoreError, ValueError):
    """The folder is not a feature store, is of a newer format, or is damaged."""


class StoreLockedError(FeatureStoreError, RuntimeError):
    """Another live process holds the store."""


class StoreSpecError(FeatureStoreError, ValueError):
    """The rows of the store are not those that the model needs."""


class StoreValueError(FeatureStoreError, ValueError):
    """Rows, ids or positions that the store cannot take; nothing was written."""


class StoreExistsError(FeatureStoreError, FileExistsError):
    """Something stands at the path already; nothing was overwritten."""


class StoreNotFoundError(FeatureStoreError, FileNotFoundError):
    """There is no store at the path."""


class StoreWriteError(FeatureStoreError, OSError):
    """The disk did not take a write (full, failing, read-only); what was committed is intact."""


class StoreTransferError(FeatureStoreError, OSError):
    """A store could not be sent or fetched whole; what stood at both ends before stands there still."""


class UnknownVideoError(FeatureStoreError, KeyError):
    """The store has no such video."""

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return str(self.args[0]) if self.args else ""
