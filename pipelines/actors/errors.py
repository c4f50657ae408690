"""What can go wrong with actors and clusters, and what a user can mend of it."""

from tal.errors import LongtalError


class ActorError(LongtalError, RuntimeError):
    """Actors cannot begin, or do not stay alive long enough to."""


class ClusterError(LongtalError, ConnectionError):
    """There is no cluster at the address, or none that this process can join."""
