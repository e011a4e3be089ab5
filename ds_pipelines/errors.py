"""The one family of errors: each names the culprit, what was expected and the next step.

A message never holds a data value or a secret: it may end up in an event log, a terminal or a ticket. A class takes
the facts and builds its own sentence, so that raising it anywhere says the same thing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date
    from pathlib import Path


class DsPipelinesError(Exception):
    """Base of every error that the project raises on purpose; the command line prints it as one line, exit status 1."""


class SettingsError(DsPipelinesError):
    """A setting is missing, unknown or malformed."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(
            f"Setting {name} is not usable: expected {expected}. "
            "Correct it in the environment or in settings.toml; `ds-pipelines doctor` lists all settings."
        )


class SettingsFileError(DsPipelinesError):
    """The file of an installation's settings is there and cannot be read."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"Settings file {path} cannot be read: {reason}. Expected TOML, a line a setting, as "
            "first_day = 2025-01-01. Correct the file, or remove it."
        )


class MissingSecretError(DsPipelinesError):
    """A file that should hold a secret is missing, empty or readable by others."""

    def __init__(self, path: Path, reason: str, next_step: str) -> None:
        super().__init__(f"Secret file {path} is not usable: {reason}. {next_step}")


class DatabaseUnreachableError(DsPipelinesError):
    """A database does not answer; the URL itself is withheld because it may hold a password."""

    def __init__(self, role: str, reason: str, *, setting: str | None) -> None:
        where = f"the database named by {setting}" if setting else "the embedded database"
        step = (
            f"Check that the server runs and that {setting} is right"
            if setting
            else "Run `ds-pipelines doctor` for the cluster's log"
        )
        super().__init__(f"Role {role!r} cannot reach {where}: {reason}. {step}.")


class UnknownRoleError(DsPipelinesError):
    """A database role that does not exist was named."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no database role {name!r}; expected one of {listing(known)}.")


class ClusterError(DsPipelinesError):
    """An embedded PostgreSQL cluster cannot be made or started."""

    def __init__(self, name: str, reason: str, next_step: str) -> None:
        super().__init__(f"The embedded PostgreSQL cluster {name!r} did not start: {reason}. {next_step}")


class DiskFullError(DsPipelinesError):
    """Too little space to go on safely."""

    def __init__(self, path: Path, free_mib: int, needed_mib: int) -> None:
        super().__init__(
            f"Too little disk space at {path}: {free_mib} MiB free, {needed_mib} MiB needed. "
            "Free some space, or set DS_HOME to a folder on another disk."
        )


class PortTakenError(DsPipelinesError):
    """Another program listens where one of ours should."""

    def __init__(self, service: str, port: int, setting: str) -> None:
        super().__init__(
            f"Port {port} for {service} is taken by another program. "
            f"Stop that program, or choose another port with {setting}."
        )


class UnknownDayError(DsPipelinesError):
    """A day that the business does not have, or that cannot be read yet."""

    def __init__(self, day: str, first: str, last: str) -> None:
        super().__init__(
            f"There is no day {day} to work on: expected a day as YYYY-MM-DD from {first} to {last}. "
            "The bounds come from DS_FIRST_DAY, DS_TODAY and DS_EXTRACT_DELAY."
        )


class UnfitForVerdictError(DsPipelinesError):
    """An argument of a verdict has the wrong shape, missing values, or values out of range."""

    def __init__(self, culprit: str, expected: str) -> None:
        super().__init__(
            f"{culprit} cannot be judged: expected {expected}. Correct it where the verdict is called; "
            "labels, predictions, blocks and groups must have one value a row, in the same order."
        )


class ContractBrokenError(DsPipelinesError):
    """What a scoring job computed is not what it promises to deliver; nothing was delivered."""

    def __init__(self, job: str, broken: Iterable[tuple[str, str]]) -> None:
        cases = listing({f"{column} ({check})" for column, check in broken})
        super().__init__(
            f"The rows of job {job!r} break its contract: {cases}. Nothing was delivered, and consumers keep what they "
            f"have. Correct the job or its inputs, or change the contract in production/jobs/{job}.py."
        )


class ServingTableDiffersError(DsPipelinesError):
    """A serving table exists and has other columns than the job's contract."""

    def __init__(self, table: str, expected: Iterable[str], found: Iterable[str]) -> None:
        expected, found = list(expected), list(found)
        different = listing(set(expected) ^ set(found)) or "their order"
        super().__init__(
            f"Serving table {table!r} does not match the job's contract: {different}. "
            "Agree with its consumers, then alter or drop the table; the next delivery makes it anew."
        )


class DeliveryFailedError(DsPipelinesError):
    """The serving database refused a delivery, or went away; its message may quote rows, so only its kind is told."""

    def __init__(self, job: str, day: date, kind: str) -> None:
        super().__init__(
            f"The delivery of job {job!r} for {day} failed in the serving database ({kind}). Nothing of it is visible, "
            "and consumers keep what they have. Look at the database's log, then run the day again."
        )


class UnsafeModelError(DsPipelinesError):
    """A model's files are not what was released, or are of a kind that is never loaded; nothing was loaded."""

    def __init__(self, model: str, file: str, expected: str) -> None:
        super().__init__(
            f"Model {model!r} was not loaded because of {file!r}: expected {expected}. "
            "Propose the run again, and import the release anew."
        )


class UnfitForModelError(DsPipelinesError):
    """A model would be fed with something else than it was trained on, or answers with something that is no score."""

    def __init__(self, model: str, subject: str, expected: str) -> None:
        super().__init__(
            f"Model {model!r} cannot score: {subject} must be {expected}. "
            "Compare the job's features with those that the release names."
        )


class ProposalRefusedError(DsPipelinesError):
    """A run or a job cannot be offered to production."""

    def __init__(self, run: str, expected: str) -> None:
        super().__init__(
            f"Run {run} cannot be proposed for release: expected {expected}. Propose a run that has it; "
            "MLflow's pages show the verdict and the model of each."
        )


class UnknownJobError(DsPipelinesError):
    """A scoring job that does not exist was named."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"There is no scoring job {name!r}; expected one of {listing(known)}. "
            "A job is a module in production/jobs, named in its __init__.py."
        )


class NothingProposedError(DsPipelinesError):
    """A job has no release manifest."""

    def __init__(self, job: str, folder: Path) -> None:
        super().__init__(
            f"Job {job!r} has no release to take in: expected a manifest {job}-….yaml in {folder}. "
            "Offer one from a run with `ds-pipelines release propose RUN`."
        )


class ManifestError(DsPipelinesError):
    """The manifest of a release cannot be used."""

    def __init__(self, path: Path, key: str, expected: str) -> None:
        super().__init__(
            f"Release manifest {path.name} is not usable: {key}: expected {expected}. "
            "Manifests are not edited: propose the run or the computation again."
        )


class ReleaseRefusedError(DsPipelinesError):
    """A release is not what its manifest says, or not what production runs; nothing of it was loaded."""

    def __init__(self, name: str, culprit: str, expected: str) -> None:
        super().__init__(
            f"Release of {name!r} refused because of {culprit}: expected {expected}. "
            "The release that is in use stays in use. Review the change, then propose and import it anew."
        )


class UnfaithfulReleaseError(DsPipelinesError):
    """Production would not compute what the experiment was judged by."""

    def __init__(self, name: str, subject: str, expected: str = "what the experiment has, within 1e-9") -> None:
        super().__init__(
            f"Release of {name!r} refused: from the experiment's own snapshots production gets other predictions. "
            f"{subject}: expected {expected}. Make production/jobs/{name}.py and the experiment define the same."
        )


class NoChampionError(DsPipelinesError):
    """No release of a job is in use."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"No release of {name!r} is in use: expected one in production's registry. "
            "Import a manifest of production/releases, or propose a run first."
        )


def listing(names: Iterable[str]) -> str:
    """Names for a message: sorted, comma-separated."""
    return ", ".join(sorted(names))


class SampleArgumentError(DsPipelinesError):
    """A sample shop was asked for that cannot be made."""

    def __init__(self, argument: str, expected: str) -> None:
        super().__init__(f"The sample cannot be made with this {argument}: expected {expected}. Choose another one.")


class UnknownExtractError(DsPipelinesError):
    """No extract of this table is published."""

    def __init__(self, table: str, published: Iterable[str]) -> None:
        known = listing(published)
        step = (
            f"Published are: {known}."
            if known
            else "Nothing is published yet: materialize an extract in Dagster's location production."
        )
        super().__init__(f"There is no extract of a table {table!r}. {step}")


class UnpublishedDayError(DsPipelinesError):
    """An extract exists, but not for what was asked."""

    def __init__(self, table: str, asked: str, first: date, last: date) -> None:
        super().__init__(
            f"Nothing of {table!r} is published for {asked}: expected days from {first} to {last}. "
            f"Ask for one of these, or materialize extract/{table} for the day in Dagster's location production."
        )


class UnknownSnapshotError(DsPipelinesError):
    """The gateway publishes no such file, or no longer."""

    def __init__(self, snapshot: str = "this digest") -> None:
        super().__init__(
            f"There is no file of {snapshot}: expected one that a published extract names now. "
            "List the extract again; the day may have been published anew since."
        )


class ErasedSnapshotError(UnknownSnapshotError):
    """A snapshot was removed on purpose, and cannot be had again."""

    def __init__(self, digest: str, reason: str) -> None:
        DsPipelinesError.__init__(
            self,
            f"The snapshot {digest[:12]}… cannot be had again: {reason}. Nothing that was made from it can be "
            "reproduced; run the experiment again on what is published now.",
        )


class MissingDaysError(DsPipelinesError):
    """An extract has gaps in the days asked for."""

    def __init__(self, table: str, missing: Sequence[date]) -> None:
        named = ", ".join(str(day) for day in missing[:5]) + (", …" if len(missing) > 5 else "")
        super().__init__(
            f"{len(missing)} of the days asked for of {table!r} are not published: {named}. "
            f"Materialize extract/{table} for them in Dagster's location production, or ask for fewer days."
        )


class GatewayUnreachableError(DsPipelinesError):
    """Nobody answers where the gateway should."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"The gateway does not answer at {address}: {reason}. Start it with `ds-pipelines up`, or name the right "
            "place with DS_GATEWAY_ADDRESS (or DS_HOST and DS_GATEWAY_PORT, if it runs on this machine)."
        )


class GatewayRefusedError(DsPipelinesError):
    """The gateway does not know the token."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"The gateway at {address} refuses the token: expected the one in secrets/gateway.token of the gateway's "
            "own DS_HOME. Set DS_HOME to that folder, or copy the token into the file of the same name in yours."
        )


class GatewayAnswerError(DsPipelinesError):
    """Something answers in the gateway's place, but not as the gateway does."""

    def __init__(self, address: str, answer: str) -> None:
        super().__init__(
            f"{address} answers, but not as this project's gateway of the same version: {answer}. "
            "See the gateway's log, or correct DS_GATEWAY_ADDRESS (or DS_HOST and DS_GATEWAY_PORT)."
        )


class ForgedSnapshotError(DsPipelinesError):
    """The gateway sent other bytes than those that were published."""

    def __init__(self, table: str, day: date) -> None:
        super().__init__(
            f"The file of {table!r} for {day} is not the one that was published: expected the size and SHA-256 of its "
            f"manifest. Nothing of it was kept. Materialize extract/{table} for that day again, and find out who "
            "changed the file."
        )


class TableArgumentError(DsPipelinesError):
    """`lab.table` was asked for something that it cannot mean."""

    def __init__(self, table: str, argument: str, expected: str) -> None:
        super().__init__(f"lab.table({table!r}) cannot use {argument} as given: expected {expected}.")


class UnknownColumnError(DsPipelinesError):
    """A column was asked for that an extract does not have."""

    def __init__(
        self, table: str, unknown: Iterable[str], available: Iterable[str], withheld: Mapping[str, str]
    ) -> None:
        reasons = [
            f"{name!r} is withheld by the privacy policy ({why or 'no reason given'})" for name, why in withheld.items()
        ]
        plain = listing(repr(name) for name in unknown)
        if plain:
            reasons.insert(0, f"there is no {plain}")
        super().__init__(f"Columns of {table!r} cannot be read: {'; '.join(reasons)}. There are: {listing(available)}.")


class MixedExtractError(DsPipelinesError):
    """Days of one extract were published in ways that do not fit together."""

    def __init__(self, table: str, day: date, other: date, difference: str) -> None:
        super().__init__(
            f"{table!r} cannot be read as one table: {difference} on {day}, unlike {other}. "
            f"Materialize extract/{table} anew for the older days, or ask for days and columns that agree."
        )


class UnknownExperimentError(DsPipelinesError):
    """No experiment has this name, and no script lies at this path."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"There is no experiment {name!r}: expected a script's path, or one of {listing(known) or 'none yet'}. "
            "An experiment is any Python script below DS_EXPERIMENTS whose name does not begin with _ or a dot."
        )


class ExperimentFailedError(DsPipelinesError):
    """An experiment's script raised; its message is left out, unless it is one of ours, because it may quote data."""

    def __init__(self, script: str, line: int | None, kind: str, said: str | None = None) -> None:
        where = script if line is None else f"{script}, line {line}"
        super().__init__(
            f"Experiment {where}, ended with {kind}{f': {said}' if said else '.'} "
            "What it had noted until then is in MLflow, marked as failed; "
            "`python` with the script's path runs it by itself and shows the whole message."
        )


class UnusableNoteError(DsPipelinesError):
    """A script notes something that a run cannot keep."""

    def __init__(self, call: str, name: str, expected: str) -> None:
        super().__init__(f"lab.{call} cannot keep {name!r}: expected {expected}. Correct the call in the script.")


class UnusableParameterError(DsPipelinesError):
    """A run was started with a parameter that its script does not ask for, or of another type."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(
            f"Parameter {name!r} cannot be used: expected {expected}. Start the run again with such a value."
        )


class UnsavableModelError(DsPipelinesError):
    """A model cannot be kept in a form that is safe to load, or does not give the predictions it came with."""

    def __init__(self, name: str, kind: str, expected: str) -> None:
        super().__init__(
            f"Model {name!r} ({kind}) cannot be saved: expected {expected}. "
            "Save a LightGBM model or a scikit-learn pipeline of its own parts, with the predictions it makes."
        )


class TrackingUnreachableError(DsPipelinesError):
    """MLflow does not answer, or refuses."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"MLflow at {address} cannot record runs: {reason}. "
            "Start it with `ds-pipelines up`, or name another server with DS_TRACKING_ADDRESS."
        )


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


class PolicyError(DsPipelinesError):
    """A privacy policy cannot be used as it is written."""

    def __init__(
        self, path: Path, problem: str, *, line: int | None = None, key: str | None = None, more: int = 0
    ) -> None:
        where = str(path) + (f", line {line}" if line else "") + (f", key {key}" if key else "")
        rest = f" ({more} more problem{'s' if more > 1 else ''} after this one)" if more else ""
        super().__init__(f"Privacy policy {where}: {problem}{rest}. Correct the file.")


class UndeclaredTableError(DsPipelinesError):
    """A table is asked for, or exists, without a privacy decision."""

    def __init__(self, tables: Iterable[str], declared: Iterable[str]) -> None:
        super().__init__(
            f"The privacy policy does not name the table {listing(repr(table) for table in tables)}; it names "
            f"{listing(declared)}. Decide on it in the policy, or ask for one of these."
        )


class UndeclaredColumnError(DsPipelinesError):
    """A column reached the extract without a privacy decision."""

    def __init__(self, table: str, columns: Mapping[str, str]) -> None:
        draft = "".join(
            f"\n      {json.dumps(name, ensure_ascii=False)}: {{type: {json.dumps(type_, ensure_ascii=False)}, "
            "treatment: drop, because: Nobody has decided yet.}"
            for name, type_ in columns.items()
        )
        super().__init__(
            f"Table {table!r} has columns that the privacy policy does not name: {listing(columns)}. Nothing of the "
            f"table is read until the policy decides on each; under its `columns`, this would withhold them:{draft}"
        )


class AbsentTableError(DsPipelinesError):
    """The privacy policy names a table that the database does not have."""

    def __init__(self, table: str, schema: str) -> None:
        super().__init__(
            f"The privacy policy names table {table!r}, and schema {schema!r} of the database has none. "
            "Correct the name in the policy, or check which database the role reads."
        )


class AbsentColumnError(DsPipelinesError):
    """The privacy policy names columns that the table does not have."""

    def __init__(self, table: str, columns: Iterable[str]) -> None:
        super().__init__(
            f"The privacy policy names columns that table {table!r} does not have: {listing(columns)}. "
            "Correct or remove them in the policy."
        )


class ChangedTypeError(DsPipelinesError):
    """A column is not of the type for which the privacy policy decided on it."""

    def __init__(self, table: str, column: str, *, stated: str | None, type_: str) -> None:
        super().__init__(
            f"Column {table}.{column} is of type {type_}, and the privacy policy decided on {stated}. Nothing of the "
            "table is read. Check that the treatment is still right, then state the new type in the policy."
        )


class UnfitTreatmentError(DsPipelinesError):
    """A treatment does not fit the type of its column."""

    def __init__(self, table: str, column: str, *, treatment: str, type_: str, fits: Iterable[str]) -> None:
        super().__init__(
            f"Column {table}.{column} is of type {type_}, and treatment {treatment} needs {listing(fits)}. "
            "Choose a treatment in the policy that fits."
        )


class UnsupportedTypeError(DsPipelinesError):
    """A column would be in the extract, and is of a type that the extract cannot carry exactly."""

    def __init__(self, table: str, column: str, type_: str, reason: str) -> None:
        super().__init__(
            f"Column {table}.{column} is of type {type_}, which the extract cannot carry exactly: {reason}. "
            "Drop the column in the policy, or offer it in a view as another type."
        )


class UnfitDayColumnError(DsPipelinesError):
    """The column that should tell the day of a row cannot."""

    def __init__(self, table: str, column: str, type_: str) -> None:
        super().__init__(
            f"Column {table}.{column} ({type_}) cannot tell the day of a row: expected timestamp with time zone or "
            "date, and NOT NULL, so that no row is lost. Name another column as by_day in the policy."
        )


class UnreadableValueError(DsPipelinesError):
    """A column holds something that its type allows and the extract cannot represent."""

    def __init__(self, table: str, column: str, expected: str) -> None:
        super().__init__(
            f"Column {table}.{column} holds a value that the extract cannot represent: expected {expected}. "
            "Correct the value in production, or drop the column in the policy."
        )


class SourceRefusedError(DsPipelinesError):
    """The production database did not give what was asked of it."""

    def __init__(self, table: str, role: str, reason: str, next_step: str) -> None:
        super().__init__(f"Role {role!r} could not read table {table!r}: {reason}. {next_step}")


class RowsOfError(DsPipelinesError):
    """A table is extracted in the other way: by day, or whole as of the day."""

    def __init__(self, table: str, *, by_day: bool) -> None:
        how = "by day: give the days" if by_day else "whole, as of the day it is read: give no days"
        super().__init__(f"The privacy policy extracts table {table!r} {how}.")


class AmbiguousKeyError(DsPipelinesError):
    """Two rows have the same key."""

    def __init__(self, table: str, key: Iterable[str]) -> None:
        super().__init__(
            f"Rows of table {table!r} share a key: expected {listing(key)} to identify a row. "
            "Name the columns of the primary key as `key` in the policy."
        )


class CollidingPseudonymsError(DsPipelinesError):
    """Two identifiers have the same pseudonym."""

    def __init__(self, table: str, column: str, treatment: str) -> None:
        super().__init__(
            f"Two identifiers in {table}.{column} have the same pseudonym, and nothing was published: "
            f"expected "
            f"as many as identifiers. 63 bits are too few for {treatment}; write `as: text` for it in the policy."
        )


class DamagedFitError(DsPipelinesError):
    """What was fitted on data cannot be read."""

    def __init__(self, path: Path, table: str) -> None:
        super().__init__(
            f"What was fitted on table {table!r} cannot be read from {path}: expected the file as it was written. "
            "Restore it from a backup, so that bins and categories stay what they were; or remove it, to fit anew."
        )


class UnpublishableError(DsPipelinesError):
    """What was written is not what was read, so it was not published."""

    def __init__(self, table: str, day: date | None, reason: str) -> None:
        when = f" for {day}" if day else ""
        super().__init__(
            f"The extract of {table!r}{when} was not published: {reason}. Nothing became visible. "
            "Extract it again; if it stays, report it with this message."
        )


class ProofFailedError(DsPipelinesError):
    """A proof that an extract gives nobody away failed, so nothing was published."""

    def __init__(self, table: str, last: date, failed: Mapping[str, str], report: Path) -> None:
        what = "; ".join(f"{name}: {found}" for name, found in failed.items())
        super().__init__(
            f"The extract of {table!r} until {last} was not published, because a proof failed. {what}. "
            f"Read {report}, then change the policy of the columns that it names."
        )


class MalformedDigestError(DsPipelinesError):
    """A snapshot's name is none."""

    def __init__(self) -> None:
        super().__init__(
            "This is no snapshot's digest: expected 64 hexadecimal digits in lower case, as in a manifest."
        )


class UnusableTableNameError(DsPipelinesError):
    """A table's name cannot be the name of a folder."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"Table {table!r} cannot be published under this name: expected 1 to 63 bytes of UTF-8. "
            "Offer it in a view of another name, and name that in the policy."
        )


class DamagedManifestError(DsPipelinesError):
    """A published manifest cannot be read."""

    def __init__(self, table: str, day: str) -> None:
        super().__init__(
            f"The manifest of {table!r} for {day} is damaged, or of another version of the project. "
            f"Extract the day again: `ds-pipelines extract {table}`."
        )


class DamagedRecordError(DsPipelinesError):
    """The record of a run or of a release cannot be read, so what it needs cannot be told."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The record {path} cannot be read: expected one as this version of the project writes it. "
            "Nothing was removed. Restore it from a backup, or remove the run or the release that it belongs to."
        )


class ForeignPseudonymsError(DsPipelinesError):
    """An extract has pseudonyms of another secret than the present one."""

    def __init__(self, table: str, day: date) -> None:
        super().__init__(
            f"The extract of {table!r} for {day} has pseudonyms of another secret than the present one: they lead to "
            "no new ones. Extract the day again, or remove it, then change the key. Nothing was changed."
        )


class UnfinishedRotationError(DsPipelinesError):
    """A change of keys was interrupted, so that a person may stand in files under two pseudonyms."""

    def __init__(self) -> None:
        super().__init__(
            "A change of keys was interrupted: expected all files to have pseudonyms of one secret. "
            "Finish it with `ds-pipelines rotate-key --do-it`, then repeat this."
        )


class EmptyIdentifierError(DsPipelinesError):
    """Nobody is named who could be erased."""

    def __init__(self) -> None:
        super().__init__(
            "No customer is named: expected the identifier that production uses, as `--customer 1234`, or `--known` "
            "to erase again all who were erased before."
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


class NothingToProposeError(DsPipelinesError):
    """A policy is to be drafted for a schema in which nothing can be seen."""

    def __init__(self, schema: str, role: str) -> None:
        super().__init__(
            f"There are no tables in schema {schema!r} to draft a policy for, as role {role!r} sees it. "
            "Name another schema, or check which database the role reads."
        )


class WouldOverwriteError(DsPipelinesError):
    """A file to write exists already."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists, and is not overwritten: expected a new file. Name another, or move it away.")


class NotATerminalError(DsPipelinesError):
    """Real rows would be shown elsewhere than to a person."""

    def __init__(self, command: str) -> None:
        super().__init__(
            f"`ds-pipelines {command}` shows real rows, and so only on a terminal: expected no pipe and no file. "
            "Run it by itself on production's terminal."
        )


class RecognizerError(DsPipelinesError):
    """A custom recogniser of free text cannot be made from its configuration."""

    def __init__(self, number: int, name: str, reason: str) -> None:
        super().__init__(
            f"Custom recogniser {number} ({name!r}) is not usable: {reason}. Give it a supported_entity, and patterns "
            "(name, regex, score) or a deny_list, as in Presidio's own configuration."
        )


class LanguageModelError(DsPipelinesError):
    """A named spaCy model is not there or cannot be loaded."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(
            f"Language model {model!r} cannot be loaded ({reason}): expected an installed spaCy model or its folder. "
            "Install it (models are never downloaded on their own), or leave the policy's model out."
        )


class UnencodableTextError(DsPipelinesError):
    """A text holds half a surrogate pair: it is no Unicode text, and no database or file can hold it."""

    def __init__(self, row: int) -> None:
        super().__init__(
            f"Text {row} (counted from 0) holds a lone surrogate: expected Unicode text. "
            "Decode it anew from its bytes, with errors='replace' if they are damaged."
        )
