"""Resolves an ssh configuration file with ``ssh -G``, so that OpenSSH's own client interprets the file."""

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
from intercede.plugin_tools.transport import wait_uninterrupted
from intercede.transports._ssh_host_keys import HostKeyRules

__all__ = ["Login", "expand_tokens", "parse_answer", "run_locally"]

_NOT_FOUND = "Could not resolve hostname"
_FAMILIES = {"any": socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
_IDENTITIES = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
_KNOWN_HOSTS = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)
_STDERR_LIMIT = 500
_END_SECONDS = 1.0


@dataclass(frozen=True)
class Login:
    """One login with every setting resolved. The defaults are those of OpenSSH's client without a configuration.

    Args:
        host: The name or address to connect to.
        port: The port to connect to.
        username: The user on the remote host. None means the name of the local user.
        jump: Jump hosts, as ``ssh -J`` takes them.
        proxy_command: The command that provides the connection, run by ``$SHELL``.
        alias: The name by which host keys are looked up.
        known_hosts: The files of host keys; missing files are skipped.
        known_hosts_command: A command that prints more host keys.
        revoked_host_keys: Files of keys that are refused for every host.
        check_host_ip: Whether the key must also match the one listed for the address.
        rules: The requirements for every host key.
        identities: Files of keys to log in with; unreadable files are skipped.
        certificates: Files of certificates for these keys. If there are none, those next to the keys are used.
        identities_only: Whether only these keys of the agent may be offered.
        agent: The path of the agent's socket. If it is empty, no agent is used.
        options: Further options for asyncssh.
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
    check_host_ip: bool = False
    rules: HostKeyRules = field(default_factory=HostKeyRules)
    identities: Sequence[str] = tuple(f"~/.ssh/{name}" for name in _IDENTITIES)
    certificates: Sequence[str] = ()
    identities_only: bool = False
    agent: str = field(default_factory=lambda: os.environ.get("SSH_AUTH_SOCK", ""))
    options: Mapping[str, object] = field(default_factory=dict[str, object])

    @classmethod
    async def resolve(cls, file: str, host: str, port: int | None, username: str | None) -> "Login":
        """Resolve a host's settings by ``ssh -F FILE -G HOST``. This command runs ``Match exec``, as any ``ssh`` does.

        Raises:
            ConfigError: OpenSSH's client is not installed, it rejects the configuration, or the configuration needs
                something that this transport does not support.
            TransportError: The configuration needs a host name to be resolved, and that fails.
        """
        ssh = shutil.which("ssh")
        if ssh is None:
            raise _build_config_error(
                file, "needs OpenSSH's client to resolve it, and there is no `ssh` on PATH", "an installed `ssh`"
            )
        port_words = [] if port is None else ["-p", str(port)]
        user_words = [] if username is None else ["-l", username]
        # The option makes ssh print the value of %C; ControlPath itself is not used.
        command = [ssh, "-G", "-F", file, "-o", "ControlPath=%C", *port_words, *user_words, "--", host]
        code, answer, stderr = await run_locally(command)
        if code == 0 and (resolved := parse_answer(answer, file, host)) is not None:
            return resolved
        words = stderr or f"exit code {code}"
        if _NOT_FOUND in words:
            raise TransportError(f"{host}: {words}")
        raise _build_config_error(
            file, f"cannot be read: `ssh -G` reports: {words}", "a configuration file of OpenSSH's client"
        )


def _build_config_error(file: str, why: str, expected: str) -> ConfigError:
    return ConfigError(f"the ssh configuration {file} {why}", field="ssh_config", value=file, expected=expected)


async def run_locally(command: Sequence[str]) -> tuple[int, bytes, str]:
    """Run a command on this machine without stdin, and return its exit code, its stdout, and the end of its stderr.

    If the call is cancelled, the command is killed with everything that it started. A process that the command leaves
    running may hold stderr open. So stderr is a file, and the call does not wait for such a process.

    Raises:
        OSError: The command cannot be run.
    """
    with tempfile.TemporaryFile() as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            stdout, _ = await process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                if process.returncode is None:  # an ended command's pid may belong to another process
                    os.killpg(process.pid, signal.SIGKILL)
            await wait_uninterrupted(asyncio.ensure_future(process.wait()), _END_SECONDS)
            raise
        stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - _STDERR_LIMIT))
        return await process.wait(), stdout, stderr.read().decode("utf-8", "replace").strip()


def parse_answer(output: bytes, file: str, asked: str) -> Login | None:
    """Parse the output of ``ssh -G`` for this host, or return None if the output has another form.

    Raises:
        ConfigError: The configuration needs something that this transport does not support.
    """
    answer = _Answer(output, file)
    host, port, user = (answer.get_one(keyword) for keyword in ("hostname", "port", "user"))
    if not host or not port.isdigit() or not user:
        return None
    tokens = _list_tokens(answer, asked)
    answer.refuse("bindinterface")
    proxy_command = answer.get_one("proxycommand") or None
    if proxy_command is not None:
        answer.refuse("proxyusefdpass", unless="no")
    try:
        return Login(
            host=host,
            port=int(port),
            username=user,
            jump=[
                expand_tokens(hop, _select_tokens(tokens, "hknpr"), {}) for hop in answer.get_words("proxyjump", ",")
            ],
            proxy_command=proxy_command and expand_tokens(proxy_command, _select_tokens(tokens, "hknpr"), {}),
            alias=answer.get_one("hostkeyalias") or None,
            known_hosts=[*answer.get_files("userknownhostsfile"), *answer.get_files("globalknownhostsfile")],
            known_hosts_command=_parse_known_hosts_command(answer, tokens),
            revoked_host_keys=answer.get_files("revokedhostkeys"),
            check_host_ip=answer.is_set("checkhostip") and proxy_command is None and not answer.get_one("proxyjump"),
            rules=_read_rules(answer),
            identities=_expand_identity_files(answer.get_all("identityfile"), tokens),
            certificates=_expand_identity_files(answer.get_all("certificatefile"), tokens),
            identities_only=answer.is_set("identitiesonly"),
            agent=_find_agent_socket(answer.get_one("identityagent")),
            options=_list_asyncssh_options(answer),
        )
    except ValueError as error:
        raise _build_config_error(file, f"cannot be honoured for {asked}: {error}", "what ssh accepts") from error


class _Answer:
    """The lines of ``ssh -G``'s output: a keyword in lower case, a space, and the value."""

    def __init__(self, output: bytes, file: str) -> None:
        self._file = file
        self._lines: dict[str, list[str]] = {}
        for line in os.fsdecode(output).split("\n"):
            keyword, _, value = line.partition(" ")
            self._lines.setdefault(keyword.lower(), []).append(value.strip())

    def get_all(self, keyword: str) -> list[str]:
        """Return the value of every line with this keyword."""
        return self._lines.get(keyword, [])

    def get_one(self, keyword: str) -> str:
        """Return the value of the only line with this keyword, or "" if there is no such line."""
        values = self.get_all(keyword)
        if len(values) > 1:  # the value of a variable may hold a newline, and so forge a line
            raise _build_config_error(self._file, f"has more than one {keyword}", "values on one line")
        return values[0] if values else ""

    def get_words(self, keyword: str, separator: str | None = None) -> list[str]:
        """Return the words of the only line with this keyword. The value ``none`` has no words."""
        words = [each for each in self.get_one(keyword).split(separator) if each]
        return [] if words == ["none"] else words

    def is_set(self, keyword: str) -> bool:
        """Return whether the keyword is switched on: its value is not empty, ``no``, ``false`` or ``none``."""
        return self.get_one(keyword).lower() not in {"", "no", "false", "none"}

    def get_files(self, keyword: str) -> list[str]:
        """Return the files that the keyword names. ``ssh -G`` does not quote them, so names with spaces are refused."""
        files = [_expand_home(name) for name in self.get_words(keyword)]
        if len(files) > 1 and not all(map(os.path.isabs, files)):
            raise _build_config_error(
                self._file, f"has a {keyword} with a space: {' '.join(files)}", "names without spaces"
            )
        return files

    def refuse(self, keyword: str, unless: str = "none") -> None:
        """Raise an error if the keyword has a value other than the one that the parameter ``unless`` allows."""
        value = self.get_one(keyword)
        if value.lower() not in {"", unless}:
            raise _build_config_error(
                self._file, f"has {keyword} {value}, which is not supported", f"none, or {keyword} {unless}"
            )


def _expand_home(name: str) -> str:
    """Expand ``~`` as OpenSSH does: from the user database, and not from HOME."""
    user, slash, rest = name.partition("/")
    if not user.startswith("~"):
        return name
    try:
        entry = pwd.getpwnam(user[1:]) if user[1:] else pwd.getpwuid(os.getuid())
    except KeyError:
        raise ValueError(f"there is no user {user[1:]!r} for {name}") from None
    return entry.pw_dir + slash + rest


def _list_tokens(answer: _Answer, asked: str) -> dict[str, str]:
    """Return the value of each token, such as ``%h``, which ssh_config(5) lists under TOKENS."""
    user, here = pwd.getpwuid(os.getuid()), socket.gethostname()
    jump = answer.get_words("proxyjump", ",")
    return {
        "%": "%",
        "C": answer.get_one("controlpath"),
        "d": user.pw_dir,
        "h": answer.get_one("hostname"),
        "i": str(user.pw_uid),
        "j": re.sub(":[0-9]+$", "", jump[-1].rpartition("@")[2]).strip("[]") if jump else "",
        "k": answer.get_one("hostkeyalias") or asked,
        "L": here.partition(".")[0],
        "l": here,
        "n": asked,
        "p": answer.get_one("port"),
        "r": answer.get_one("user"),
        "u": user.pw_name,
    }


def _select_tokens(tokens: Mapping[str, str], names: str) -> dict[str, str]:
    return {name: tokens[name] for name in "%" + names}


def expand_tokens(text: str, tokens: Mapping[str, str], variables: Mapping[str, str] | None = None) -> str:
    """Expand ``%x`` from the tokens, and ``${NAME}`` from the variables.

    If the variables are None, the environment is used. If they are empty, ``${NAME}`` is not expanded.

    Raises:
        ValueError: A token or a variable is unknown.
    """
    known = os.environ if variables is None else variables
    pattern = re.compile("%(.?)" if variables == {} else r"%(.?)|\$\{([^}]*)\}", re.DOTALL)

    def replace(match: re.Match[str]) -> str:
        token, variable = match.group(1), match.groups()[-1]
        found = tokens.get(token) if token is not None else known.get(variable)
        if found is None:
            # The error leaves out the rest of the text, which may hold a password.
            raise ValueError(f"{match[0]} is unknown")
        return found

    return pattern.sub(replace, text)


def _expand_identity_files(names: Sequence[str], tokens: Mapping[str, str]) -> list[str]:
    return [expand_tokens(_expand_home(name), tokens) for name in names if name.lower() != "none"]


def _find_agent_socket(named: str) -> str:
    """Return the path of the agent's socket for a value of IdentityAgent. The path is empty if there is no agent."""
    if named.lower() == "none":
        return ""
    if named in {"", "SSH_AUTH_SOCK"}:
        return os.environ.get("SSH_AUTH_SOCK", "")
    if named.startswith("$") and not named.startswith("${"):
        return os.environ.get(named[1:], "")
    return _expand_home(named)


def _parse_known_hosts_command(answer: _Answer, tokens: Mapping[str, str]) -> list[str]:
    """Return the words of KnownHostsCommand. Tokens of the server's key are refused: the key is not known yet."""
    words = answer.get_one("knownhostscommand").split()
    if not words:
        return []
    if not words[0].startswith("/"):
        raise ValueError(f"KnownHostsCommand {words[0]} is not an absolute path, which ssh requires")
    if answer.is_set("checkhostip"):
        raise ValueError("KnownHostsCommand is asked about names only, and CheckHostIP needs addresses as well")
    if set(answer.get_one("knownhostscommand")) & set("\"'\\"):
        raise ValueError("quotes in KnownHostsCommand are not supported")
    host, port = answer.get_one("hostkeyalias") or tokens["h"], tokens["p"]
    name = host if port == "22" or answer.get_one("hostkeyalias") else f"[{host}]:{port}"
    tokens = {**tokens, "H": name, "I": "HOSTNAME"}
    return [words[0], *(expand_tokens(word, tokens) for word in words[1:])]


def _read_rules(answer: _Answer) -> HostKeyRules:
    known = {*get_public_key_algs(), *get_certificate_algs()}
    default = HostKeyRules()
    return HostKeyRules(
        algorithms=_select_supported(answer, "hostkeyalgorithms", known) or default.algorithms,
        authority_algorithms=answer.get_words("casignaturealgorithms", ",") or default.authority_algorithms,
        min_rsa_bits=int(answer.get_one("requiredrsasize") or default.min_rsa_bits),
    )


def _select_supported(answer: _Answer, keyword: str, known: Collection[bytes]) -> list[str]:
    """Return the algorithms in the keyword's list that asyncssh supports."""
    wanted = answer.get_words(keyword, ",")
    supported = [name for name in wanted if name.encode("utf-8", "surrogateescape") in known]
    if wanted and not supported:
        raise ValueError(f"asyncssh supports none of the {keyword} {','.join(wanted)}")
    return supported


_ALGORITHMS: Mapping[str, tuple[str, Callable[[], Collection[bytes]]]] = {
    "ciphers": ("encryption_algs", get_encryption_algs),
    "macs": ("mac_algs", get_mac_algs),
    "kexalgorithms": ("kex_algs", get_kex_algs),
    "pubkeyacceptedalgorithms": ("signature_algs", get_public_key_algs),
    # OpenSSH before 8.5 prints this keyword in place of pubkeyacceptedalgorithms.
    "pubkeyacceptedkeytypes": ("signature_algs", get_public_key_algs),
}
_SWITCHES = {
    "pubkeyauthentication": "public_key_auth",
    "passwordauthentication": "password_auth",
    "kbdinteractiveauthentication": "kbdint_auth",
    "gssapiauthentication": "gss_auth",
    "gssapidelegatecredentials": "gss_delegate_creds",
    "tcpkeepalive": "tcp_keepalive",
}


def _list_asyncssh_options(answer: _Answer) -> dict[str, object]:
    """Return the remaining settings as options of asyncssh."""
    options: dict[str, object] = {name: answer.is_set(keyword) for keyword, name in _SWITCHES.items()}
    for keyword, (name, known) in _ALGORITHMS.items():
        if supported := _select_supported(answer, keyword, known()):
            options[name] = supported
    options["compression_algs"] = ["zlib@openssh.com", "none"] if answer.is_set("compression") else ["none"]
    options["family"] = _FAMILIES[answer.get_one("addressfamily") or "any"]
    if address := answer.get_one("bindaddress"):
        options["local_addr"] = (address, 0)
    if methods := answer.get_one("preferredauthentications"):
        options["preferred_auth"] = methods
    limit, seconds, *_ = (*answer.get_words("rekeylimit"), "0", "0")
    options |= {name: int(text) for name, text in (("rekey_bytes", limit), ("rekey_seconds", seconds)) if int(text)}
    if variables := answer.get_all("setenv"):
        options["env"] = variables
    if patterns := answer.get_all("sendenv"):
        options["send_env"] = patterns
    return options
