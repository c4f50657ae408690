"""Base of every configuration model: frozen, and an unknown key is an error."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Configuration values; children declare fields with types, defaults and a docstring or description."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
