"""`longtal init`: from a folder of videos and an annotation file to a configuration that trains."""

from pipelines.init.run import InitOptions, Project, init_project

__all__ = ["InitOptions", "Project", "init_project"]
