"""programs: clients and servers of other projects, run as their users run them.

A program's output is read as it comes; nothing here may wait for a fixed time.
"""

import os
import socket
import subprocess

from lib.backend import unused_port
from lib.gate import DEADLINE, IDENTITY, KEY, Log


class Program:
    """A program with its input in our hands and its output (both kinds) in `out`."""

    def __init__(self, *command, **how):
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, LC_ALL="C"),
            **how,
        )
        self.out = Log(self.process.stdout)

    def write(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end_input(self):
        self.process.stdin.close()

    def wait(self, timeout=DEADLINE):
        """Its exit status, once it has ended by itself."""
        status = self.process.wait(timeout)
        self.out.finish()
        return status

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.out.finish()
        self.process.stdin.close()
        self.process.stdout.close()


def endpoint(address):
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def s_client(address, *options, identity=IDENTITY, key=KEY, version="-dtls1_2"):
    """openssl s_client, talking as soon as "SSL-Session" is in its output."""
    return Program(
        *("openssl", "s_client", version, "-connect", endpoint(address)),
        *("-psk_identity", identity, "-psk", key.hex()),
        *options,
    )


def gnutls_cli(address, priority, *options, identity=IDENTITY, key=KEY):
    """gnutls-cli, talking as soon as "Simple Client Mode" is in its output."""
    host, port = address
    return Program(
        *("gnutls-cli", "--udp", "--port", port, "--priority", priority),
        *("--pskusername", identity, "--pskkey", key.hex(), *options, host),
    )


def coap_client(flavour, address, path, *options, identity=IDENTITY, key="0123456789abcdef"):
    """coap-client of libcoap, run to its end; -B makes it give up, its key is text."""
    return subprocess.run(
        [f"coap-client-{flavour}", "-u", identity, "-k", key, "-B", "15", *map(str, options)]
        + [f"coaps://{endpoint(address)}{path}"],
        capture_output=True,
        timeout=DEADLINE,
    )


def start_on_unused_port(start, is_ready):
    """Programs that take no port 0: chooses one, and another one should somebody be faster.

    `start(port)` makes the Program, `is_ready(program, port)` waits for it; False: it has ended."""
    for _ in range(5):
        port = unused_port()
        program = start(port)
        if is_ready(program, port):
            return program, port
        program.stop()
    raise AssertionError(f"does not start:\n{program.out.text()}")


def answers(program, port, question):
    """Asks the UDP service until it answers. False: the program has ended."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.1)
        for _ in range(int(DEADLINE / 0.1)):
            if program.process.poll() is not None:
                return False
            s.sendto(question, ("127.0.0.1", port))
            try:
                if s.recvfrom(65536)[1][1] == port:
                    return True
            except TimeoutError:
                pass
    raise AssertionError(f"no answer:\n{program.out.text()}")


def coap_server():
    """libcoap's example server without TLS, and its port."""
    ping = bytes([0x40, 0x00, 0x12, 0x34])  # an empty confirmable message: answered by a reset
    return start_on_unused_port(
        lambda port: Program("coap-server-notls", "-A", "127.0.0.1", "-p", port, "-d", "10"),
        lambda program, port: answers(program, port, ping),
    )


def dnsmasq(*options):
    """dnsmasq that knows nothing but what the options say, and its port."""
    question = bytes.fromhex("000101000001000000000000") + b"\x07version\x04bind\0\0\x10\0\x03"
    return start_on_unused_port(
        lambda port: Program(
            *("dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null"),
            *("--no-resolv", "--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces"),
            *("--user=" if os.geteuid() else "--user=root", "--pid-file=", f"--port={port}"),
            *options,
        ),
        lambda program, port: answers(program, port, question),
    )


# A header of the PROXY protocol that speaks for nobody: "this is the proxy's own question".
PROXY_LOCAL = b"\r\n\r\n\0\r\nQUIT\n" + bytes.fromhex("20000000")
ANYTHING = bytes.fromhex("000101000001000000000000") + b"\4gate\4test\0\0\1\0\1"


def unbound(folder, *lines):
    """unbound behind the PROXY protocol, with these lines in its server clause; and its port."""

    def start(port):
        path = folder / f"unbound.{port}.conf"
        usual = (
            f"interface: 127.0.0.1@{port}",
            f"proxy-protocol-port: {port}",
            'chroot: ""',
            'username: ""',
            'pidfile: ""',
            f'directory: "{folder}"',
            "use-syslog: no",
            'logfile: ""',
            "log-queries: yes",
            "do-daemonize: no",
            'module-config: "iterator"',
        )
        path.write_text("server:\n" + "".join(f"  {line}\n" for line in (*usual, *lines)))
        return Program("unbound", "-d", "-p", "-c", path)

    return start_on_unused_port(start, lambda *who: answers(*who, PROXY_LOCAL + ANYTHING))


def dnsdist(folder, text):
    """dnsdist behind the PROXY protocol, with this text behind its settings; and its port."""

    def start(port):
        path = folder / f"dnsdist.{port}.conf"
        path.write_text(
            f'setLocal("127.0.0.1:{port}")\nsetProxyProtocolACL({{"127.0.0.1/32"}})\n'
            f'setSecurityPollSuffix("")\n{text}'
        )
        return Program("dnsdist", "--supervised", "--disable-syslog", "-C", path)

    return start_on_unused_port(start, lambda *who: answers(*who, PROXY_LOCAL + ANYTHING))
