"""Every setting, read from the environment in this one place.

What belongs here: names, types, defaults and the meaning of settings, and the business's clock that follows from them.
What does not: connecting to anything, or creating anything; importing this module touches nothing but the environment.

Sources, strongest first: variables `DS_…`, `<home>/settings.toml` (what was chosen for this installation, such as the
sample's days), the defaults below.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from ds_pipelines.errors import SettingsError, SettingsFileError, UnknownDayError

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent

Environment = Literal["development", "acceptance", "production"]
ACCEPTANCE_PORTS = 100
"""So far above production's ports acceptance listens, so that both can be up at once."""

TELEMETRY_OFF = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MPLBACKEND": "Agg",
}
"""Set for every process that the project starts, and for this one by `quiet_libraries`."""


def _default_home() -> Path:
    root = PROJECT if (PROJECT / "pyproject.toml").exists() else Path.cwd()
    return root / ".ds"


class Settings(BaseSettings):
    """The settings of one process. Frozen: who needs another value makes a copy with `model_copy(update=…)`."""

    model_config = SettingsConfigDict(env_prefix="DS_", frozen=True, extra="forbid", env_ignore_empty=True)

    environment: Environment = Field("development", description="Which of the three environments this process serves.")
    home: Path = Field(
        default_factory=_default_home,
        description="Where everything that is made at run time lives: databases, snapshots, secrets, logs.",
    )

    zone: str = Field("Europe/London", description="The business's time zone: a day is a calendar day there.")
    first_day: date = Field(date(2025, 1, 1), description="The business's first day with data.")
    today: date | None = Field(
        None,
        description="The business's today, for data that ends when it ends, as the sample's does; unset: the clock's.",
    )
    extract_delay: timedelta = Field(
        timedelta(hours=2), description="How long after its end a day can be extracted (ISO 8601, as PT2H)."
    )
    retention_days: int | None = Field(
        None, description="How many days of extracts are kept, unless something needs more; unset: all.", ge=1
    )
    experiment_retention_days: int | None = Field(
        None,
        description="How many days runs of experiments are kept, unless something needs them; unset: all.",
        ge=1,
    )
    listing_age: timedelta = Field(
        timedelta(minutes=5),
        description="How long what the gateway listed counts as current, so that reading again asks nobody (ISO 8601).",
    )

    extract_url: SecretStr | None = Field(None, description="Production database, as the extract's role reads it.")
    replica_url: SecretStr | None = Field(
        None, description="A replica of production, which the extract then reads instead; as the extract's role."
    )
    scoring_url: SecretStr | None = Field(None, description="Production database, as the scoring's role reads it.")
    owner_url: SecretStr | None = Field(None, description="Production database, as the sample's owner writes it.")
    serving_url: SecretStr | None = Field(None, description="Serving database, as the scoring's role writes it.")
    consumer_url: SecretStr | None = Field(None, description="Serving database, as other systems read it.")
    acceptance_url: SecretStr | None = Field(
        None, description="Serving database of acceptance, as its own role writes it; never production's."
    )
    dagster_url: SecretStr | None = Field(None, description="Dagster's storage.")
    acceptance_dagster_url: SecretStr | None = Field(None, description="Dagster's storage of acceptance.")
    mlflow_url: SecretStr | None = Field(None, description="MLflow's backend store in development.")
    registry_url: SecretStr | None = Field(None, description="Production's model registry.")
    gateway_database_url: SecretStr | None = Field(
        None, description="The gateway's database (tokens, requests, audit), as the gateway uses it."
    )
    gateway_owner_url: SecretStr | None = Field(
        None, description="The gateway's database, as its owner makes its tables and manages tokens."
    )
    ledger_url: SecretStr | None = Field(
        None, description="The ledger of releases, as those who propose, approve and deploy add to it."
    )
    ledger_owner_url: SecretStr | None = Field(
        None, description="The ledger of releases, as its owner makes its table."
    )

    pace_chunk: timedelta = Field(
        timedelta(seconds=0.25), description="How long the database shall work for a chunk (ISO 8601, as PT0.25S)."
    )
    pace_sleep: float = Field(
        0.1,
        description="Seconds of sleep for each second of reading, while it is calm; a fifth of it where nobody works.",
        ge=0,
    )
    pace_most_sleep: float = Field(
        60.0, description="Seconds of sleep for each second of reading, at most, while it is pressed.", ge=0
    )
    pace_active: int = Field(1, description="So many backends of others may be at work while it counts as calm.", ge=0)
    pace_waiting: int = Field(
        0, description="So many backends of others may wait for locks while anything is read.", ge=0
    )
    pace_probe: float = Field(
        3.0, description="How many times longer than at first a small query may take while it counts as calm.", gt=1
    )
    pace_stop: int = Field(200, description="With more backends of others at work, reading stops with an error.", ge=1)
    pace_patience: timedelta = Field(
        timedelta(minutes=30), description="How long a reading waits to go on, until it stops with an error."
    )
    replica_lag: timedelta = Field(timedelta(minutes=1), description="How far the replica may be behind production.")
    replica_patience: timedelta = Field(
        timedelta(minutes=5),
        description="How long an extract waits for a replica that is behind; then it reads production.",
    )
    snapshot_limit: timedelta = Field(
        timedelta(minutes=10),
        description="How long one moment is held open where a policy asks for `consistency: snapshot`.",
    )
    extract_hours: str | None = Field(
        None, description="When the extract may read, by the business's clock, as 20:00-06:00; unset: always."
    )
    extract_rows_a_day: int | None = Field(None, description="Rows that extracts may read a day; unset: any.", ge=1)
    extract_seconds_a_day: int | None = Field(
        None, description="Seconds a day that the database may work for extracts; unset: any.", ge=1
    )
    reconcile_days: int = Field(
        3, description="How many days before the newest are read again each day, for late changes and deletions.", ge=0
    )
    rescore_days: int = Field(
        7, description="How many of a scoring job's newest days are scored again if their source has changed.", ge=1
    )
    days_a_tick: int = Field(
        31, description="How many missing days of a scoring job are asked for at a time, at most.", ge=1
    )
    days_interval: timedelta = Field(
        timedelta(seconds=30), description="How often delivered days are compared with those expected (ISO 8601)."
    )
    days_pause: timedelta = Field(
        timedelta(minutes=1),
        description="How long after a crash a day is tried again (ISO 8601); doubled each time, up to sixty times that.",
    )
    source_interval: timedelta = Field(
        timedelta(hours=1),
        description="How often the source of delivered and of refused days is looked at for changes (ISO 8601).",
    )

    scoring_folder: Path | None = Field(
        None,
        description="Where a day's tables, features and scores lie while it is scored; unset: in the home. With Ray on "
        "several machines, a folder that all of them see.",
    )
    engines: dict[str, Literal["local", "ray"]] = Field(
        default_factory=dict, description='Engines of scoring jobs other than local, as {"repurchase": "ray"}.'
    )
    ray_address: str | None = Field(
        None, description="Ray cluster for the engine ray, as host:6379; unset: workers on this machine."
    )

    superseded_days: int = Field(
        30, description="How many days delivered rows are kept after others replaced them, to be restored.", ge=1
    )

    host: str = Field("127.0.0.1", description="The address on which the services listen.")
    webserver_port: int = Field(3000, description="Dagster's pages.", ge=1, le=65535)
    webserver_user_header: str | None = Field(
        None,
        description="Header by which an authenticating proxy in front of Dagster's pages names the user, as "
        "X-Forwarded-User; only where nobody reaches the pages but through that proxy.",
    )
    gateway_port: int = Field(4280, description="The gateway.", ge=1, le=65535)
    mlflow_port: int = Field(5000, description="MLflow's pages and tracking API.", ge=1, le=65535)
    pages_address: str | None = Field(
        None, description="URL of Dagster's pages as people reach them, for the links in alerts; unset: the service's."
    )
    exploration_port: int = Field(4266, description="Code server of the location exploration.", ge=1, le=65535)
    production_port: int = Field(4267, description="Code server of the location production.", ge=1, le=65535)
    jupyter_port: int = Field(4288, description="JupyterLab, where the extra `jupyter` is installed.", ge=1, le=65535)
    gateway_address: str | None = Field(None, description="URL of the gateway, if it runs elsewhere.")
    gateway_certificate: Path | None = Field(
        None, description="Certificate chain (PEM) with which the gateway serves https; needs the key, too."
    )
    gateway_key: Path | None = Field(None, description="Key (PEM, without a password) of that certificate.")
    gateway_user_header: str | None = Field(
        None, description="Header in which the authenticating proxy before the gateway names the user; unset: none is."
    )
    gateway_proxy: str = Field("127.0.0.1", description="Its address; from another the header is not believed.")
    tracking_address: str | None = Field(None, description="URL of the MLflow server, if it runs elsewhere.")

    experiment_memory: int | None = Field(
        None,
        description="Bytes that all experiments on this machine may take together, and one at most; unset: what the "
        "machine has, less a reserve for everything else.",
        ge=1 << 26,
    )
    experiment_minutes: float = Field(120, description="Minutes that an experiment may take.", gt=0)
    experiment_disk: int = Field(20 << 30, description="Bytes that an experiment may write.", ge=1 << 20)
    experiment_cores: int | None = Field(
        None, description="Processor cores that an experiment may use; unset: all.", ge=1
    )
    experiment_processes: int = Field(2_000, description="Processes and threads that an experiment may have.", ge=8)
    experiment_ports: tuple[int, ...] = Field(
        (80, 443),
        description="TCP ports, as [80, 443], that an experiment may connect to, beside the gateway's and MLflow's.",
    )

    policies: Path = Field(PACKAGE / "production" / "policies", description="Folder of the privacy policies.")
    release_token: Path | None = Field(
        None,
        description="File with the token by which you propose, approve or deploy releases; unset: release.token among "
        "the home's secrets.",
    )
    releases: Path = Field(PACKAGE / "production" / "releases", description="Folder of the release manifests.")
    experiments: Path = Field(PACKAGE / "exploration" / "experiments", description="Folder of the experiments.")
    pins: Path | None = Field(
        None, description="File that names the snapshots which `lab.table` reads; set where a run is reproduced."
    )

    table_share: float = Field(
        1.0, description="Share of each table's rows that `lab.table` gives; set while a run is rehearsed.", gt=0, le=1
    )
    table_log: Path | None = Field(
        None, description="File to which `ds-pipelines table` adds what it read; set by the runs of R scripts."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes them by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before `<home>/settings.toml`; a test's own arguments before both."""
        home = init_settings().get("home") or env_settings().get("home") or _default_home()
        path = Path(home) / "settings.toml"
        try:
            chosen = TomlConfigSettingsSource(settings_cls, toml_file=path)
        except (OSError, ValueError) as error:
            raise SettingsFileError(path, getattr(error, "strerror", None) or str(error)) from None
        for name in sorted(set(chosen()) & set(DATABASE_SETTINGS)):
            raise SettingsError(f"DS_{name.upper()}", "it in the environment: exploration reads settings.toml, too")
        return init_settings, env_settings, chosen

    @field_validator(
        "home",
        "policies",
        "releases",
        "experiments",
        "gateway_certificate",
        "gateway_key",
        "scoring_folder",
        "release_token",
    )
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("extract_hours")
    @classmethod
    def _span_of_hours(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", value):
            raise ValueError("two times of the day, as 20:00-06:00")
        return value

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("a time zone of the IANA database, as Europe/London")
        return value

    @property
    def gateway_base(self) -> str:
        """The gateway's URL, without a trailing slash."""
        scheme = "https" if self.gateway_certificate else "http"
        return (self.gateway_address or f"{scheme}://{self.host}:{self.gateway_port}").rstrip("/")

    @property
    def tracking_base(self) -> str:
        """The MLflow server's URL, without a trailing slash."""
        return (self.tracking_address or f"http://{self.host}:{self.mlflow_port}").rstrip("/")

    @property
    def webserver_base(self) -> str:
        """The URL of Dagster's pages, without a trailing slash."""
        return f"http://{self.host}:{self.webserver_port}"

    @property
    def pages_base(self) -> str:
        """The URL of Dagster's pages as people reach them, without a trailing slash."""
        return (self.pages_address or self.webserver_base).rstrip("/")

    @property
    def secrets(self) -> Path:
        """Folder of generated secrets; its files are readable by their owner only."""
        return self.home / "secrets"

    @property
    def alert_channels(self) -> Path:
        """File with the addresses to which alerts are sent, a line each."""
        return self.secrets / "alerts"

    @property
    def gateway_token(self) -> Path:
        """File with the bearer token by which development reads extracts."""
        return self.secrets / "gateway.token"

    @property
    def pseudonym_key(self) -> Path:
        """File with the secret from which every pseudonym is derived."""
        return self.secrets / "pseudonym.key"

    @property
    def next_pseudonym_key(self) -> Path:
        """File with the secret that replaces the one above, while it does."""
        return self.secrets / "pseudonym.next.key"

    @property
    def pause(self) -> Path:
        """File that stops all reading of production for as long as it is there."""
        return self.home / "extract.pause"

    @property
    def tombstone_key(self) -> Path:
        """File with the secret of the tombstones; it outlives every change of the pseudonyms' secret."""
        return self.secrets / "tombstone.key"

    @property
    def erased(self) -> Path:
        """Folder of the tombstones of erased persons; what is restored from a backup must not replace it."""
        return self.home / "erased"

    @property
    def snapshots(self) -> Path:
        """Store of published extracts, on the production side."""
        return self.home / "snapshots"

    @property
    def scoring(self) -> Path:
        """Folder of the days that are being scored; what is in it has real keys."""
        return self.scoring_folder or self.home / "scoring"

    @property
    def spool(self) -> Path:
        """Folders of the runs that go on, and of those that MLflow has not got yet."""
        return self.home / "spool"

    @property
    def cache(self) -> Path:
        """The lab's cache of what the gateway served."""
        return self.home / "cache"

    @property
    def closed(self) -> Path:
        """Folder of the experiments that were closed, each with its reason."""
        return self.home / "closed"

    @property
    def environments(self) -> Path:
        """Virtual environments in which past runs are reproduced."""
        return self.home / "environments"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts in development."""
        return self.home / "artifacts"

    @property
    def release_key(self) -> Path:
        """File with the private key by which releases are signed when they are deployed."""
        return self.secrets / "release.key"

    @property
    def release_public_key(self) -> Path:
        """File with its public half, by which production verifies what it uses."""
        return self.secrets / "release.pub"

    @property
    def ledger_head(self) -> Path:
        """File that witnesses the newest entry of the ledger of releases, outside its database."""
        return self.home / "ledger.head"

    @property
    def registry_artifacts(self) -> Path:
        """Files of the models that production's registry holds, and of the releases offered to it."""
        return self.home / "registry"

    @property
    def running(self) -> Path:
        """Folder of the lock, the logs and the process numbers of what `up` serves: acceptance has its own."""
        return self.acceptance if self.environment == "acceptance" else self.home

    @property
    def acceptance(self) -> Path:
        """Folder of the examinations of acceptance that go on; each is removed at its end."""
        return self.home / "acceptance"

    @property
    def instance(self) -> Path:
        """DAGSTER_HOME of this environment: run-time state stays out of git."""
        return self.home / "home" / self.environment

    def in_acceptance(self) -> Self:
        """These settings for the environment acceptance; its services listen a hundred ports above production's."""
        if self.environment == "acceptance":
            return self
        ports = {name: getattr(self, name) + ACCEPTANCE_PORTS for name in ("webserver_port", "production_port")}
        return self.model_copy(update={"environment": "acceptance", **ports})

    def now(self) -> datetime:
        """The business's now, with its zone; noon of `today` where that is set."""
        zone = ZoneInfo(self.zone)
        if self.today is None:
            return datetime.now(zone)
        return datetime.combine(self.today, time(12), zone)

    def last_extractable_day(self) -> date:
        """The newest day that ended at least `extract_delay` ago."""
        # Subtract in UTC: wall-clock arithmetic is an hour off across a change to or from summer time.
        settled = (self.now().astimezone(UTC) - self.extract_delay).astimezone(ZoneInfo(self.zone))
        return settled.date() - timedelta(days=1)

    def require_day(self, day: str | date) -> date:
        """The day, if it can be worked on.

        Raises:
            UnknownDayError: it is no date, or outside `first_day` … `last_extractable_day()`.
        """
        first, last = self.first_day, self.last_extractable_day()
        try:
            parsed = day if isinstance(day, date) else date.fromisoformat(day)
        except ValueError:
            raise UnknownDayError(str(day), str(first), str(last)) from None
        if not first <= parsed <= last:
            raise UnknownDayError(str(parsed), str(first), str(last))
        return parsed

    def bounds(self, day: date) -> tuple[datetime, datetime]:
        """Start (inclusive) and end (exclusive) of a business day, as instants; 23, 24 or 25 hours apart."""
        zone = ZoneInfo(self.zone)
        start = datetime.combine(day, time(), zone)
        end = datetime.combine(day + timedelta(days=1), time(), zone)
        return start.astimezone(UTC), end.astimezone(UTC)

    def as_environment(self) -> dict[str, str]:
        """The variables that give a child process these settings; database URLs of the user are left out."""
        plain = self.model_dump(mode="json", exclude_none=True, exclude=set(DATABASE_SETTINGS))
        written = {name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in plain.items()}
        return {f"DS_{name.upper()}": value for name, value in written.items()}


DATABASE_SETTINGS = tuple(name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None)
"""Names of the settings that hold a database URL, and with it perhaps a password."""


def load_settings(**overrides: Any) -> Settings:
    """Reads the settings.

    Raises:
        SettingsError: a value cannot be used; the message names the setting and what was expected, never the value.
        SettingsFileError: `settings.toml` is there and cannot be read.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"DS_{name.removeprefix('DS_')}", _expectation(first)) from None


def _expectation(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "extra_forbidden":
        return "a known setting, and there is none of this name"
    return message[0].lower() + message[1:]


def environment(**extra: str) -> dict[str, str]:
    """The process environment for a child: this one's, telemetry off, and `extra` on top."""
    return {**os.environ, **TELEMETRY_OFF, **extra}


def scrubbed_environment(**extra: str) -> dict[str, str]:
    """As `environment`, without any variable that holds a database URL: what the exploration side is started with."""
    hidden = {f"DS_{name.upper()}" for name in DATABASE_SETTINGS} - {"DS_DAGSTER_URL"}
    return {name: value for name, value in environment(**extra).items() if name not in hidden}


def search_path() -> str:
    """Where programs are looked for, ours first: of the environment of this Python, which need not be active."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def adopt_environment(**variables: str) -> None:
    """Gives this process variables that libraries read, as a child of it would get them."""
    os.environ.update(variables)


def quiet_libraries() -> None:
    """Turns the telemetry of every library off in this process; call before importing them."""
    adopt_environment(**TELEMETRY_OFF)
