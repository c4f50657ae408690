"""What a user says of the actors."""

from __future__ import annotations

from dataclasses import dataclass

from tal.errors import ConfigError


@dataclass(frozen=True)
class Actors:
    """Actors of Ray that share the videos.

    Attributes
    ----------
    address
        local: a Ray of this machine's own, on loopback, that ends with the command; auto: the cluster that
        this machine is part of; HOST:PORT: the one there.
    count
        actors; 0: one for each GPU of the cluster.
    video_timeout_s
        seconds that an actor may take for a video; None: as long as it takes.

    Raises
    ------
    ConfigError
        for a number that is out of range, or an address that no driver can have.
    """

    address: str = "local"
    count: int = 0
    video_timeout_s: float | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ConfigError(f"--actors {self.count}: must be 1 or more")
        if self.video_timeout_s is not None and not self.video_timeout_s > 0:
            raise ConfigError(f"--video-timeout {self.video_timeout_s:g}: must be above 0 seconds")
        host, colon, port = self.address.rpartition(":")
        if self.address not in ("local", "auto") and not (host and colon and port.isdigit()):
            raise ConfigError(f"--ray {self.address!r}: write local, auto, or HOST:PORT of a cluster's head")
        if "://" in self.address:
            raise ConfigError(f"--ray {self.address}: run this on a machine of the cluster, with --ray auto")
