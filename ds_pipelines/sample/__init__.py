"""The sample business: a shop, invented or built around real transactions, and its way into PostgreSQL.

What belongs here: everything about the shop as other people's production database. What does not: anything that reads
it as such; the extract knows only the tables.
"""

from ds_pipelines.sample.generate import generate
from ds_pipelines.sample.load import load
from ds_pipelines.sample.shop import Accounted, Shop
from ds_pipelines.sample.transactions import from_transactions

__all__ = ["Accounted", "Shop", "from_transactions", "generate", "load"]
