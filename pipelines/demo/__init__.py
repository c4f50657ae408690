"""The demo: synthetic videos, then the whole way a user goes."""
