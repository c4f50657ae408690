"""torchrun whose rendezvous listens on 127.0.0.1 alone: torch's own listens on every address.

python tests/pipelines/train/agent.py ARGUMENTS OF torchrun
"""

import socket
from typing import Any

import torch.distributed as dist

_Store = dist.TCPStore


class LoopbackStore(_Store):
    """A store whose server, where it is one, has a socket of the loopback."""

    def __init__(
        self,
        host_name: str,
        port: int,
        world_size: Any = None,
        is_master: bool = False,
        *more: Any,
        **options: Any,
    ) -> None:
        assert host_name in ("127.0.0.1", "localhost"), host_name
        if is_master:
            listening = socket.create_server(("127.0.0.1", port))
            port = listening.getsockname()[1]
            options["master_listen_fd"] = listening.detach()
        super().__init__("127.0.0.1", port, world_size, is_master, *more, **options)


dist.TCPStore = LoopbackStore  # type: ignore[misc]

if __name__ == "__main__":
    from torch.distributed.run import main

    main()
