"""One run on several hosts, each with the rows of its own videos."""

from pipelines.train.hosts.group import HostError, Hosts

__all__ = ["HostError", "Hosts"]
