"""An experiment that tries to reach the production database in every way we could think of; run, not imported.

It prints a JSON object: by attempt whether it was `refused`, or what it `reached`. What it knows of the installation
(paths, process ids, even which port listens) it is told: secrecy of those is no wall.
"""

import ctypes
import glob
import json
import os
import socket
import subprocess
import sys

told = json.loads(sys.argv[1])
found = {}
libc = ctypes.CDLL(None, use_errno=True)


def attempt(name):
    def made(function):
        try:
            reached = function()
        except BaseException as error:
            found[name] = f"refused: {type(error).__name__}"
        else:
            found[name] = f"reached {reached}" if reached else "refused"
        return function

    return made


def in_another_process(function):
    """What would change this process for the attempts after it."""
    told_by, tell = os.pipe()
    if os.fork() == 0:
        try:
            os.write(tell, json.dumps(function()).encode())
        finally:
            os._exit(0)
    os.close(tell)
    os.wait()
    return json.loads(os.read(told_by, 65536) or "null")


def names_in(folder):
    """Apart from the one file that an experiment may read, as it reads extracts by it."""
    return [name for name in os.listdir(folder) if name != "gateway.token"]


def log_in(**arguments):
    import psycopg2

    given = {"user": "extract", "dbname": "shop", "connect_timeout": 3, **arguments}
    with psycopg2.connect(**given) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return "the database"


def called(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


@attempt("own environment")
def _():
    return [name for name, value in os.environ.items() if told["mark"] in value]


@attempt("environment of other processes")
def _():
    seen = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            if told["mark"].encode() in open(path, "rb").read():
                seen.append(path)
        except OSError:
            pass
    return seen


@attempt("environment of the parent")
def _():
    return told["mark"].encode() in open(f"/proc/{told['worker']}/environ", "rb").read() and "it"


@attempt("password file")
def _():
    return open(told["passfile"]).read() and "the password"


@attempt("password file through a symbolic link")
def _():
    os.symlink(told["passfile"], "link")
    return open("link").read() and "the password"


@attempt("password file through a hard link")
def _():
    os.link(told["passfile"], "hard")
    return open("hard").read() and "the password"


@attempt("password file moved here")
def _():
    os.rename(told["passfile"] + ".copy", "moved")
    return open("moved").read() and "the password"


@attempt("password file through the parent's root")
def _():
    return open(f"/proc/{told['worker']}/root{told['passfile']}").read() and "the password"


@attempt("password file through the first process's root")
def _():
    return open(f"/proc/1/root{told['passfile']}").read() and "the password"


@attempt("password file through another program")
def _():
    return subprocess.run(["cat", told["passfile"]], capture_output=True).stdout and "the password"


@attempt("password file below any folder")
def _():
    seen = []
    for top in told["tops"]:
        for folder, _folders, names in os.walk(top):
            for name in names:
                if name.endswith(".pgpass"):
                    try:
                        open(os.path.join(folder, name)).read()
                        seen.append(name)
                    except OSError:
                        pass
    return seen


@attempt("names in the folder of secrets")
def _():
    return names_in(told["secrets"])


@attempt("the database's own files")
def _():
    return open(f"{told['data']}/global/pg_control", "rb").read() and "its files"


@attempt("a server of one's own on the database's files")
def _():
    single = [told["postgres"], "--single", "-D", told["data"], "shop"]
    ran = subprocess.run(single, input="SELECT 1", capture_output=True, text=True, timeout=10)
    return ran.returncode == 0 and "its rows"


@attempt("shared memory of the database")
def _():
    return glob.glob("/dev/shm/PostgreSQL*")


@attempt("socket, with the URL's password file")
def _():
    return log_in(host=told["sockets"], passfile=told["passfile"])


@attempt("socket, without a password")
def _():
    return log_in(host=told["sockets"])


@attempt("socket, as the superuser")
def _():
    return log_in(host=told["sockets"], user="postgres", dbname="postgres")


@attempt("socket, with a guessed password")
def _():
    return log_in(host=told["sockets"], password="extract")


@attempt("TCP")
def _():
    with socket.create_connection(("127.0.0.1", told["port"]), 3):
        return "the port"


@attempt("TCP from another program")
def _():
    code = f"import socket; socket.create_connection(('127.0.0.1', {told['port']}), 3); print('there')"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20).stdout and "the port"


@attempt("abstract socket")
def _():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + told["abstract"])
        return "it"


@attempt("memory of the parent")
def _():
    open(f"/proc/{told['worker']}/mem", "rb")
    return "it"


@attempt("tracing of the parent")
def _():
    called(libc.ptrace(16, told["worker"], 0, 0))
    libc.ptrace(17, told["worker"], 0, 0)
    return "it"


@attempt("descriptors of the parent")
def _():
    process = called(libc.syscall(434, told["worker"], 0))
    return called(libc.syscall(438, process, told["descriptor"], 0)) and "its connection"


@attempt("descriptors of the parent by name")
def _():
    return open(f"/proc/{told['worker']}/fd/{told['descriptor']}").read() and "the password"


@attempt("signal to the parent")
def _():
    os.kill(told["worker"], 0)
    return "it" if open(f"/proc/{told['worker']}/comm").read() else None


@attempt("signal to the database")
def _():
    os.kill(told["server"], 0)
    return "it" if open(f"/proc/{told['server']}/comm").read() == told["server_name"] else None


def mounted(name):
    os.mkdir(name)
    called(libc.mount(told["secrets"].encode(), name.encode(), None, 4096, None))
    return names_in(name)


@attempt("a mount of one's own")
def _():
    return in_another_process(lambda: mounted("mounted"))


@attempt("namespaces of one's own")
def _():
    def inside():
        called(libc.unshare(0x10000000 | 0x00020000))
        return mounted("inside")

    return in_another_process(inside)


@attempt("another root folder")
def _():
    def inside():
        os.chroot(told["secrets"])
        return names_in("/")

    return in_another_process(inside)


@attempt("another root folder, in namespaces of one's own")
def _():
    def inside():
        called(libc.unshare(0x10000000))
        os.chroot(told["secrets"])
        return names_in("/")

    return in_another_process(inside)


@attempt("code that production imports")
def _():
    open(f"{told['package']}/planted.py", "w")
    return "it"


@attempt("code that every Python starts with")
def _():
    open(f"{told['packages']}/planted.pth", "w")
    return "it"


@attempt("the installation's settings")
def _():
    open(f"{told['home']}/settings.toml", "a")
    return "them"


@attempt("the token by which it reads")
def _():
    open(f"{told['secrets']}/gateway.token", "a")
    return "it, to be written"


@attempt("the groups that cap it")
def _():
    for path in glob.glob("/sys/fs/cgroup/*/cgroup.procs"):
        open(path, "w").write(str(os.getpid()))
    return "them"


print("FOUND " + json.dumps(found))
