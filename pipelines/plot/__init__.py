"""Timelines of videos, written as files."""
