"""Adapters: small learnable parts in an encoder whose own weights rest."""
