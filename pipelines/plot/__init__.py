"""Timelines of videos."""
