"""Errors of the sample business."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ds_pipelines.errors.base import DsPipelinesError, listing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class SampleArgumentError(DsPipelinesError):
    """A sample shop was asked for that cannot be made."""

    def __init__(self, argument: str, expected: str) -> None:
        super().__init__(f"The sample cannot be made with this {argument}: expected {expected}. Choose another one.")


class UnreadableTransactionsError(DsPipelinesError):
    """A file of transactions cannot be read as such."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"Transactions in {path} cannot be read: {reason}. "
            "Expected a CSV file in the layout of UCI's Online Retail, plain or compressed with gzip."
        )


class MissingTransactionColumnsError(DsPipelinesError):
    """The header of a file of transactions lacks columns."""

    def __init__(self, path: Path, columns: Iterable[str]) -> None:
        super().__init__(
            f"Transactions in {path} lack the columns {listing(columns)}. "
            "Name them in the first line, separated by commas, as UCI's Online Retail does."
        )


class ForeignDatabaseError(DsPipelinesError):
    """The sample would replace a database that is not the sample's."""

    def __init__(self, tables: Iterable[str]) -> None:
        super().__init__(
            f"The database of role 'owner' holds tables that are not the sample's: {listing(tables)}. "
            "Expected an empty database or an earlier sample; point DS_OWNER_URL at such a one. Nothing was changed."
        )


class ShopInUseError(DsPipelinesError):
    """The sample's tables cannot be replaced because something holds on to them."""

    def __init__(self) -> None:
        super().__init__(
            "The sample's tables cannot be replaced: another session reads them, or a view depends on them. "
            "Let it finish, or drop the view, and load again. Nothing was changed."
        )


class LoadFailedError(DsPipelinesError):
    """The database refuses the sample."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The sample could not be loaded, the database said: {reason}. "
            "Expected a database in whose schema public role 'owner' may create tables. Nothing was changed."
        )
