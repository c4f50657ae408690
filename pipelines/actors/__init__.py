"""Work on many videos by actors of Ray: who does what, what comes back, what happens when one dies.

Ids and paths go out, results come back in pieces of bounded size. `options` says what a user chooses,
`work` what an actor is to do, `actor` is the process that does it, `cluster` where it runs, `loop` who gives
it work.
"""

from pipelines.actors.options import Actors
from pipelines.actors.work import Message, Work

__all__ = ["Actors", "Message", "Work"]
