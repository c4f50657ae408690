"""The demo: synthetic videos, then every stage of a user's work."""
