"""Hold that all hosts train one run: the same settings, annotations and videos."""

from __future__ import annotations

from pipelines.config import RunConfig
from pipelines.train.data import RunData
from pipelines.train.hosts.group import Hosts
from pipelines.train.hosts.holdings import listed
from pipelines.train.resume import settings_that_differ
from tal.errors import ConfigError


def require_same_settings(config: RunConfig, hosts: Hosts) -> None:
    """Raise ConfigError where another host has other settings than the first one, places apart."""
    said = hosts.exchange(config)
    for number, theirs in enumerate(said):
        if differing := settings_that_differ(said[0], theirs):
            raise ConfigError(
                f"host {number} has other settings than the first one ({', '.join(differing)}): start all "
                "hosts with the same configuration; only places may differ"
            )


def require_same_data(data: RunData, fingerprint: str, hosts: Hosts) -> None:
    """Raise ConfigError where another host has other annotations or videos than the first one."""
    videos = {video.id: video.num_rows for video in (*data.train, *data.validation)}
    said = hosts.exchange((fingerprint, videos))
    for number, (theirs, seen) in enumerate(said):
        if theirs != said[0][0]:
            raise ConfigError(f"host {number} has other annotations than the first one: bring the same file")
        if seen != said[0][1]:
            other = sorted(name for name in {**seen, **said[0][1]} if seen.get(name) != said[0][1].get(name))
            raise ConfigError(
                f"host {number} sees other videos than the first one ({listed(other)}): a run without a "
                "store needs every video on each host"
            )
