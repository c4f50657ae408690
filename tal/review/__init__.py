"""What a person should look at next, and what is known from what was looked at."""

from tal.review.estimates import ENOUGH, Estimate, Interval, estimate
from tal.review.options import QueueOptions
from tal.review.queue import Item, Queue, next_items, record_samples

__all__ = [
    "ENOUGH",
    "Estimate",
    "Interval",
    "Item",
    "Queue",
    "QueueOptions",
    "estimate",
    "next_items",
    "record_samples",
]
