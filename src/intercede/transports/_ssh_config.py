"""What OpenSSH's client would do with a configuration file: ``ssh -G`` says it, and no parser of ours guesses."""

import asyncio
import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from intercede.contract.errors import ConfigError, TransportError
from intercede.transports._ssh_trust import Rules
from intercede.transports._streams import wait_uninterrupted

__all__ = ["Login", "expanded", "read_answer", "run_locally"]

_NOT_FOUND = "Could not resolve hostname"
_FAMILIES = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
_IDENTITIES = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
_KNOWN_HOSTS = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)
_WORDS_KEPT = 500
_END_SECONDS = 1.0


@dataclass(frozen=True)
class Login:
    """One login, resolved. The defaults are those of OpenSSH's client where there is no configuration.

    Args:
        host: The name or address to connect to.
        port: And the port.
        username: None: the user's name here.
        jump: Hosts to jump over, as ``ssh -J`` takes them.
        proxy_command: What to run for a way there, by ``$SHELL``.
        alias: The name by which host keys are looked up.
        known_hosts: The files of host keys, those of which are read that exist.
        known_hosts_command: A command that prints more of them.
        revoked_host_keys: Files of keys that no host may show.
        is_address_checked: Whether the key that is known for the address counts, too.
        rules: What a host key must be.
        identities: Files of keys to log in with, those of which count that can be read.
        certificates: Files of certificates for them; none: those beside them.
        are_only_identities_shown: Whether of the agent's keys only those count.
        agent: The agent's socket; "": none.
        options: What asyncssh is told besides.
    """

    host: str
    port: int = 22
    username: str | None = None
    jump: Sequence[str] = ()
    proxy_command: str | None = None
    alias: str | None = None
    known_hosts: Sequence[str] = _KNOWN_HOSTS
    known_hosts_command: Sequence[str] = ()
    revoked_host_keys: Sequence[str] = ()
    is_address_checked: bool = False
    rules: Rules = field(default_factory=Rules)
    identities: Sequence[str] = tuple(f"~/.ssh/{name}" for name in _IDENTITIES)
    certificates: Sequence[str] = ()
    are_only_identities_shown: bool = False
    agent: str = field(default_factory=lambda: os.environ.get("SSH_AUTH_SOCK", ""))
    options: Mapping[str, object] = field(default_factory=dict[str, object])

    @classmethod
    async def resolve(cls, file: str, host: str, port: int | None, username: str | None) -> "Login":
        """Ask ``ssh -F FILE -G HOST``, which runs what ``Match exec`` says, as ``ssh`` itself does.

        Raises:
            ConfigError: There is no OpenSSH client, it refuses the configuration, or asks for what we cannot do.
            TransportError: It cannot find the host that the configuration wants found.
        """
        ssh = shutil.which("ssh")
        if ssh is None:
            raise _refused(file, "is resolved by OpenSSH's client, and there is no `ssh` on PATH", "it to be installed")
        port_words = [] if port is None else ["-p", str(port)]
        user_words = [] if username is None else ["-l", username]
        # ControlPath makes ssh say what %C is, and is no use to us otherwise.
        command = [ssh, "-G", "-F", file, "-o", "ControlPath=%C", *port_words, *user_words, "--", host]
        code, answer, said = await run_locally(command)
        if code == 0 and (resolved := read_answer(answer, file, host)) is not None:
            return resolved
        words = said or f"exit code {code}"
        if _NOT_FOUND in words:
            raise TransportError(f"{host}: {words}")
        raise _refused(file, f"cannot be read: `ssh -G` says: {words}", "a configuration file of OpenSSH's client")


def _refused(file: str, why: str, expected: str) -> ConfigError:
    return ConfigError(f"the ssh configuration {file} {why}", field="ssh_config", value=file, expected=expected)


async def run_locally(command: Sequence[str]) -> tuple[int, bytes, str]:
    """Run it here without stdin; return its exit code, its stdout, and the last that it said on stderr.

    It is ended with all that it started if nobody waits any more. What it leaves running may hold stderr open: that is
    a file, so that nobody waits for it.

    Raises:
        OSError: It cannot be run.
    """
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
        try:
            stdout, _ = await process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                if process.returncode is None:  # else its number may be another's
                    os.killpg(process.pid, signal.SIGKILL)
            await wait_uninterrupted(asyncio.ensure_future(process.wait()), _END_SECONDS)
            raise
        said.seek(max(0, said.seek(0, os.SEEK_END) - _WORDS_KEPT))
        return await process.wait(), stdout, said.read().decode("utf-8", "replace").strip()


def read_answer(answer: bytes, file: str, asked: str) -> Login | None:
    """Read what ``ssh -G`` said of the host that was asked for; None: it is no such answer.

    Raises:
        ConfigError: It wants what we cannot do.
    """
    said = _Said(answer, file)
    host, port, user = (said.one(keyword) for keyword in ("hostname", "port", "user"))
    if not host or not port.isdigit() or not user:
        return None
    tokens = _tokens(said, asked)
    said.refuse("bindinterface")
    proxy_command = said.one("proxycommand") or None
    if proxy_command is not None:
        said.refuse("proxyusefdpass", unless="no")
    try:
        return Login(
            host=host,
            port=int(port),
            username=user,
            jump=[expanded(hop, _only(tokens, "hknpr"), {}) for hop in said.words("proxyjump", ",")],
            proxy_command=proxy_command and expanded(proxy_command, _only(tokens, "hknpr"), {}),
            alias=said.one("hostkeyalias") or None,
            known_hosts=[*said.files("userknownhostsfile"), *said.files("globalknownhostsfile")],
            known_hosts_command=_known_hosts_command(said, tokens),
            revoked_host_keys=said.files("revokedhostkeys"),
            is_address_checked=said.is_set("checkhostip") and proxy_command is None and not said.one("proxyjump"),
            rules=_rules(said),
            identities=_identity_files(said.many("identityfile"), tokens),
            certificates=_identity_files(said.many("certificatefile"), tokens),
            are_only_identities_shown=said.is_set("identitiesonly"),
            agent=_agent(said.one("identityagent")),
            options=_options(said),
        )
    except ValueError as error:
        raise _refused(file, f"cannot be honoured for {asked}: {error}", "what ssh accepts") from error


class _Said:
    """The lines of an answer: a keyword in small letters, a blank, and the rest of the line."""

    def __init__(self, answer: bytes, file: str) -> None:
        self._file = file
        self._lines: dict[str, list[str]] = {}
        for line in os.fsdecode(answer).split("\n"):
            keyword, _, value = line.partition(" ")
            self._lines.setdefault(keyword.lower(), []).append(value.strip())

    def many(self, keyword: str) -> list[str]:
        """Return what every line of that keyword says."""
        return self._lines.get(keyword, [])

    def one(self, keyword: str) -> str:
        """Return what its only line says; "": there is none."""
        values = self.many(keyword)
        if len(values) > 1:  # a value with a newline, from a variable, would say what it likes
            raise _refused(self._file, f"has more than one {keyword}", "values on one line")
        return values[0] if values else ""

    def words(self, keyword: str, separator: str | None = None) -> list[str]:
        """Return what stands in its only line; nothing for ``none``."""
        words = [each for each in self.one(keyword).split(separator) if each]
        return [] if words == ["none"] else words

    def is_set(self, keyword: str) -> bool:
        """Whether it says something other than no."""
        return self.one(keyword).lower() not in {"", "no", "false", "none"}

    def files(self, keyword: str) -> list[str]:
        """Return the files that it names. Blanks in names cannot be told from those between them."""
        files = [_in_home(name) for name in self.words(keyword)]
        if len(files) > 1 and not all(map(os.path.isabs, files)):
            raise _refused(self._file, f"has a {keyword} with a blank: {' '.join(files)}", "names without blanks")
        return files

    def refuse(self, keyword: str, unless: str = "none") -> None:
        """Refuse the configuration where it says anything else."""
        value = self.one(keyword)
        if value.lower() not in {"", unless}:
            raise _refused(self._file, f"says {keyword} {value}, which we cannot do", f"none, or {keyword} {unless}")


def _in_home(name: str) -> str:
    """Expand ``~`` as OpenSSH does, from the user database, whatever HOME says."""
    user, slash, rest = name.partition("/")
    if not user.startswith("~"):
        return name
    try:
        entry = pwd.getpwnam(user[1:]) if user[1:] else pwd.getpwuid(os.getuid())
    except KeyError:
        raise ValueError(f"there is no user {user[1:]!r} for {name}") from None
    return entry.pw_dir + slash + rest


def _tokens(said: _Said, asked: str) -> dict[str, str]:
    """Return what stands for ``%h`` and so on: see TOKENS in ssh_config(5)."""
    user, here = pwd.getpwuid(os.getuid()), socket.gethostname()
    jump = said.words("proxyjump", ",")
    return {
        "%": "%",
        "C": said.one("controlpath"),
        "d": user.pw_dir,
        "h": said.one("hostname"),
        "i": str(user.pw_uid),
        "j": re.sub(":[0-9]+$", "", jump[-1].rpartition("@")[2]).strip("[]") if jump else "",
        "k": said.one("hostkeyalias") or asked,
        "L": here.partition(".")[0],
        "l": here,
        "n": asked,
        "p": said.one("port"),
        "r": said.one("user"),
        "u": user.pw_name,
    }


def _only(tokens: Mapping[str, str], names: str) -> dict[str, str]:
    return {name: tokens[name] for name in "%" + names}


def expanded(text: str, tokens: Mapping[str, str], variables: Mapping[str, str] | None = None) -> str:
    """Expand ``%x`` from the tokens, and ``${NAME}`` from the environment or the given variables (``{}``: not at all).

    Raises:
        ValueError: There is no such token or variable.
    """
    known = os.environ if variables is None else variables
    pattern = re.compile("%(.?)" if variables == {} else r"%(.?)|\$\{([^}]*)\}", re.DOTALL)

    def value(match: re.Match[str]) -> str:
        token, variable = match.group(1), match.groups()[-1]
        found = tokens.get(token) if token is not None else known.get(variable)
        if found is None:
            raise ValueError(f"nothing stands for {match[0]}")  # a command may hold a password, so it is not repeated
        return found

    return pattern.sub(value, text)


def _identity_files(names: Sequence[str], tokens: Mapping[str, str]) -> list[str]:
    return [expanded(_in_home(name), tokens) for name in names if name.lower() != "none"]


def _agent(named: str) -> str:
    """Return the agent's socket: a path, ``none``, ``SSH_AUTH_SOCK``, or ``$NAME``."""
    if named.lower() == "none":
        return ""
    if named in {"", "SSH_AUTH_SOCK"}:
        return os.environ.get("SSH_AUTH_SOCK", "")
    if named.startswith("$") and not named.startswith("${"):
        return os.environ.get(named[1:], "")
    return _in_home(named)


def _known_hosts_command(said: _Said, tokens: Mapping[str, str]) -> list[str]:
    """Return its words. It is run before a key is seen, so it cannot have what the key would tell it."""
    words = said.one("knownhostscommand").split()
    if not words:
        return []
    if not words[0].startswith("/"):
        raise ValueError(f"KnownHostsCommand {words[0]} is no absolute path, which ssh wants")
    if said.is_set("checkhostip"):
        raise ValueError("we ask KnownHostsCommand about names only, and CheckHostIP wants addresses, too")
    if set(said.one("knownhostscommand")) & set("\"'\\"):
        raise ValueError("we cannot read the quotes of KnownHostsCommand")
    host, port = said.one("hostkeyalias") or tokens["h"], tokens["p"]
    name = host if port == "22" or said.one("hostkeyalias") else f"[{host}]:{port}"
    tokens = {**tokens, "H": name, "I": "HOSTNAME"}
    return [words[0], *(expanded(word, tokens) for word in words[1:])]


def _rules(said: _Said) -> Rules:
    known = {*get_public_key_algs(), *get_certificate_algs()}
    default = Rules()
    return Rules(
        algorithms=_supported(said, "hostkeyalgorithms", known) or default.algorithms,
        authority_algorithms=said.words("casignaturealgorithms", ",") or default.authority_algorithms,
        least_rsa_bits=int(said.one("requiredrsasize") or default.least_rsa_bits),
    )


def _supported(said: _Said, keyword: str, known: Collection[bytes]) -> list[str]:
    """Return those of the algorithms that asyncssh has as well."""
    wanted = said.words(keyword, ",")
    supported = [name for name in wanted if name.encode("utf-8", "surrogateescape") in known]
    if wanted and not supported:
        raise ValueError(f"asyncssh has none of the {keyword} {','.join(wanted)}")
    return supported


_ALGORITHMS: Mapping[str, tuple[str, Callable[[], Collection[bytes]]]] = {
    "ciphers": ("encryption_algs", get_encryption_algs),
    "macs": ("mac_algs", get_mac_algs),
    "kexalgorithms": ("kex_algs", get_kex_algs),
    "pubkeyacceptedalgorithms": ("signature_algs", get_public_key_algs),
    "pubkeyacceptedkeytypes": ("signature_algs", get_public_key_algs),  # before OpenSSH 8.5
}
_SWITCHES = {
    "pubkeyauthentication": "public_key_auth",
    "passwordauthentication": "password_auth",
    "kbdinteractiveauthentication": "kbdint_auth",
    "gssapiauthentication": "gss_auth",
    "gssapidelegatecredentials": "gss_delegate_creds",
    "tcpkeepalive": "tcp_keepalive",
}


def _options(said: _Said) -> dict[str, object]:
    """Return what asyncssh calls what is left of it."""
    options: dict[str, object] = {name: said.is_set(keyword) for keyword, name in _SWITCHES.items()}
    for keyword, (name, known) in _ALGORITHMS.items():
        if supported := _supported(said, keyword, known()):
            options[name] = supported
    options["compression_algs"] = ["zlib@openssh.com", "none"] if said.is_set("compression") else ["none"]
    options["family"] = _FAMILIES[said.one("addressfamily") or "any"]
    if address := said.one("bindaddress"):
        options["local_addr"] = (address, 0)
    if methods := said.one("preferredauthentications"):
        options["preferred_auth"] = methods
    limit, seconds, *_ = (*said.words("rekeylimit"), "0", "0")
    options |= {name: int(text) for name, text in (("rekey_bytes", limit), ("rekey_seconds", seconds)) if int(text)}
    if variables := said.many("setenv"):
        options["env"] = variables
    if patterns := said.many("sendenv"):
        options["send_env"] = patterns
    return options
