"""The catalogue of tracks and beats: a database, with vectors to search and audio that it keeps."""

from backbeat.recommend.catalogue.settings import CatalogueSettings, load_catalogue
from backbeat.recommend.catalogue.store import Addition, Catalogue

__all__ = ["Addition", "Catalogue", "CatalogueSettings", "load_catalogue"]
