"""Judge a model's detections in the browser, or annotate without any, into `corrections.json`."""

from pipelines.review.output import OutputFile
from pipelines.review.page import render_page, write_page
from pipelines.review.proxies import Proxies, default_folder
from pipelines.review.run import Review, ReviewVideo, collect_review
from pipelines.review.server import ReviewServer
from pipelines.review.state import ReviewState
from pipelines.review.upcoming import Upcoming

__all__ = [
    "OutputFile",
    "Proxies",
    "Review",
    "ReviewServer",
    "ReviewState",
    "ReviewVideo",
    "Upcoming",
    "collect_review",
    "default_folder",
    "render_page",
    "write_page",
]
