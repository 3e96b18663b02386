"""The proxies that are measured: dtlsgate, and what stands beside it."""

import collections
import os
import shutil
import subprocess

from procs import Failure, Gate, Server, unused_port

KEY = "000102030405060708090a0b0c0d0e0f"  # made for this measurement, used nowhere else
IDENTITY = "bench"
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
SOCAT_SUITE = "ECDHE-ECDSA-AES128-GCM-SHA256"

# What clients it takes (plain, psk, certificate); how many at once, 0 for any number.
Proxy = collections.namedtuple("Proxy", "title clients most start")


def start_relay(bench, backend):
    command = [bench.program("udp_relay"), "127.0.0.1:0", backend]
    return Server(command, ready=r"listening on \S+\n")


def start_batching_relay(bench, backend):
    command = [bench.program("udp_relay"), "-g", "127.0.0.1:0", backend]
    return Server(command, ready=r"listening on \S+\n")


# One process, so that its CPU is all there is; sessions outlive the measurement; no log.
NGINX_CONF = """
load_module {module};
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{
    worker_connections 65536;
}}
stream {{
    server {{
        listen 127.0.0.1:{port} udp rcvbuf=4m sndbuf=4m;
        proxy_pass {backend};
        proxy_timeout 10m;
    }}
}}
"""


def nginx_program():
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


def start_nginx(bench, backend):
    """Without proxy_responses a session goes on until its time is over, as it should here."""
    port = unused_port()
    conf = os.path.join(bench.folder, "nginx.conf")
    text = NGINX_CONF.format(
        module=STREAM_MODULE, folder=bench.folder, port=port, backend=backend
    )
    with open(conf, "w", encoding="ascii") as file:
        file.write(text)
    command = [nginx_program(), "-e", "stderr", "-p", bench.folder, "-c", conf]
    return Server(command, port=port)


def make_certificate(bench):
    path = os.path.join(bench.folder, "socat.pem")
    if os.path.exists(path):
        return path
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", "/CN=bench", "-days", "2", "-keyout", path, "-out", path + ".c"]
    if subprocess.run(command, capture_output=True).returncode != 0:
        raise Failure(f"{' '.join(command)} does not work")
    with open(path, "a", encoding="ascii") as both, open(path + ".c", encoding="ascii") as one:
        both.write(one.read())
    return path


def start_socat(bench, backend):
    """Its address takes the first client and connects the socket to it: there is no second."""
    port = unused_port()
    server = f"OPENSSL-DTLS-SERVER:{port},bind=127.0.0.1,cert={make_certificate(bench)},verify=0"
    return Server(["socat", "-b", "16384", server, f"UDP4:{backend}"], port=port)


def start_dtlsgate(workers):
    def start(bench, backend, *more):
        options = bench.options
        settings = [
            f"daemon.workers={workers}",
            f"daemon.max-handshakes={max(64, 2 * options.concurrent)}",
            f"daemon.max-sessions={2 * max(options.sessions, options.handshakes, 1000)}",
            f"service.default.ciphers={options.suite}",
            *more,
            *options.set,
        ]
        arguments = ["-l", "127.0.0.1:0", "-b", backend, "-k", bench.psk_file]
        return Gate(options.dtlsgate, arguments, settings)

    return start


PROXIES = {
    "relay": Proxy("plain relay, one datagram per call", "plain", 0, start_relay),
    "relay-g": Proxy("plain relay with UDP_SEGMENT", "plain", 0, start_batching_relay),
    "nginx": Proxy("nginx stream, plaintext", "plain", 0, start_nginx),
    "socat": Proxy(f"socat, DTLS with a certificate ({SOCAT_SUITE})", "certificate", 1, start_socat),
    "dtlsgate": Proxy("**dtlsgate**", "psk", 0, start_dtlsgate(1)),
    "dtlsgate-2": Proxy("dtlsgate, 2 workers", "psk", 0, start_dtlsgate(2)),
}


def missing(name):
    """What a proxy lacks on this machine, or None."""
    if name == "nginx" and (nginx_program() is None or not os.path.exists(STREAM_MODULE)):
        return "nginx and libnginx-mod-stream"
    if name == "socat" and (shutil.which("socat") is None or shutil.which("openssl") is None):
        return "socat and openssl"
    return None


def client_arguments(bench, name):
    """How dtls_load speaks to it."""
    clients = PROXIES[name].clients
    if clients == "plain":
        return ["-x"]
    if clients == "certificate":
        return ["-l", "-i", "", "-c", SOCAT_SUITE]
    return bench.psk_arguments()
