"""The table of encoders."""
