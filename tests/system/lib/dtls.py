"""dtls: a client whose every datagram the test can see: libssl on memory BIOs, UDP in our hands.

The DTLS is libssl's own. It must never know anything of dtlsgate but its address.
"""

import ctypes
import select
import socket
import time

DEADLINE = 20.0
DTLS10, DTLS12 = 0xFEFF, 0xFEFD

_ssl = ctypes.CDLL("libssl.so.3")
_crypto = ctypes.CDLL("libcrypto.so.3")

_PSK_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_uint,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_ubyte),
    ctypes.c_uint,
    ctypes.POINTER(ctypes.c_ubyte),
    ctypes.c_uint,
)


def _declare(library, result, names, *arguments):
    for name in names.split():
        getattr(library, name).restype = result
        getattr(library, name).argtypes = list(arguments)


_void, _int, _long, _bytes = ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p
_declare(_ssl, _void, "DTLS_client_method")
_declare(_ssl, _void, "SSL_CTX_new SSL_new SSL_get_current_cipher", _void)
_declare(_ssl, None, "SSL_CTX_free SSL_free SSL_set_connect_state", _void)
_declare(_ssl, _int, "SSL_do_handshake SSL_shutdown", _void)
_declare(_ssl, _long, "SSL_CTX_ctrl SSL_ctrl", _void, _int, _long, _void)
_declare(_ssl, ctypes.c_uint64, "SSL_CTX_set_options", _void, ctypes.c_uint64)
_declare(_ssl, _int, "SSL_CTX_set_cipher_list", _void, _bytes)
_declare(_ssl, None, "SSL_CTX_set_psk_client_callback", _void, _PSK_CALLBACK)
_declare(_ssl, _int, "SSL_CTX_set_tlsext_max_fragment_length", _void, ctypes.c_uint8)
_declare(_ssl, None, "SSL_set_bio", _void, _void, _void)
_declare(_ssl, _int, "SSL_read SSL_write", _void, _bytes, _int)
_declare(_ssl, _int, "SSL_get_error", _void, _int)
_declare(_ssl, _int, "SSL_version SSL_session_reused", _void)
_declare(_ssl, _void, "SSL_get1_session", _void)
_declare(_ssl, None, "SSL_SESSION_free", _void)
_declare(_ssl, None, "SSL_set_shutdown", _void, _int)
_declare(_ssl, _int, "SSL_set_session", _void, _void)
_declare(_ssl, _int, "SSL_SESSION_has_ticket", _void)
_declare(_ssl, _void, "SSL_SESSION_get_id", _void, ctypes.POINTER(ctypes.c_uint))
_declare(_ssl, _bytes, "SSL_CIPHER_get_name", _void)
_declare(_crypto, _void, "BIO_s_mem")
_declare(_crypto, _void, "BIO_new", _void)
_declare(_crypto, _int, "BIO_read BIO_write", _void, _bytes, _int)
_declare(_crypto, _long, "BIO_ctrl", _void, _int, _long, _void)
_declare(_crypto, ctypes.c_ulong, "ERR_get_error")
_declare(_crypto, None, "ERR_clear_error")
_declare(_crypto, _bytes, "ERR_reason_error_string", ctypes.c_ulong)

# Numbers of ssl.h and bio.h, where they are macros.
_CTRL_MTU, _CTRL_TIMEOUT_HANDLE = 17, 74
_CTRL_MIN_VERSION, _CTRL_MAX_VERSION = 123, 124
_OP_NO_EMS, _OP_NO_QUERY_MTU, _OP_NO_TICKET, _OP_NO_ETM = 1, 1 << 12, 1 << 14, 1 << 19
_BIO_SET_MEM_EOF = 130
_WANT_READ, _ZERO_RETURN = 2, 6
_FRAGMENT_LIMITS = {0: 0, 512: 1, 1024: 2, 2048: 3, 4096: 4}


class Closed(Exception):
    """The peer has sent close_notify."""


class Refused(Exception):
    """libssl gave up, for instance because of a fatal alert; the text is its reason."""


def records(datagram):
    """(type, epoch, body) of each record in it."""
    found = []
    while len(datagram) >= 13:
        size = 13 + int.from_bytes(datagram[11:13], "big")
        epoch = int.from_bytes(datagram[3:5], "big")
        found.append((datagram[0], epoch, datagram[13:size]))
        datagram = datagram[size:]
    return found


class Session:
    """A session of libssl's, which holds the ticket if there is one, and its id."""

    def __init__(self, pointer):
        self.pointer = pointer

    @property
    def has_ticket(self):
        return _ssl.SSL_SESSION_has_ticket(self.pointer) == 1

    @property
    def id(self):
        size = ctypes.c_uint()
        at = _ssl.SSL_SESSION_get_id(self.pointer, ctypes.byref(size))
        return ctypes.string_at(at, size.value)

    def __del__(self):
        _ssl.SSL_SESSION_free(self.pointer)


class Client:
    """One association. `source` is the local address to send from; port 0 is the kernel's choice.

    `seen` lists what the gate sent, `drop(datagram)` may lose some of it."""

    def __init__(self, address, identity="dev-1", key=None, source=None, **how):
        from lib.gate import KEY

        identity = identity.encode() if isinstance(identity, str) else identity
        self.seen = []
        self.drop = how.pop("drop", lambda datagram: False)
        self._open_socket(address, source)
        self._open_ssl(identity, KEY if key is None else key, **how)

    def _open_socket(self, address, source):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if source:
            self.socket.bind(source)
        self.socket.connect(address)
        self.socket.setblocking(False)

    def _open_ssl(self, identity, key, ciphers="PSK", version=DTLS12, **extra):
        fragment, ems = extra.pop("fragment", 0), extra.pop("ems", True)
        etm = extra.pop("etm", True)
        session = extra.pop("session", None)
        ticket = extra.pop("ticket", session is not None)
        assert not extra, extra
        self._ctx = _ssl.SSL_CTX_new(_ssl.DTLS_client_method())
        options = _OP_NO_QUERY_MTU | (0 if ticket else _OP_NO_TICKET)
        options |= (0 if ems else _OP_NO_EMS) | (0 if etm else _OP_NO_ETM)
        _ssl.SSL_CTX_set_options(self._ctx, options)
        for which in (_CTRL_MIN_VERSION, _CTRL_MAX_VERSION):
            assert _ssl.SSL_CTX_ctrl(self._ctx, which, version, None) == 1
        names = ciphers + ("@SECLEVEL=0" if version == DTLS10 else "")
        assert _ssl.SSL_CTX_set_cipher_list(self._ctx, names.encode()) == 1
        if fragment:
            limit = _FRAGMENT_LIMITS[fragment]
            assert _ssl.SSL_CTX_set_tlsext_max_fragment_length(self._ctx, limit) == 1

        def on_psk(_ssl_, _hint, name, name_max, secret, secret_max):
            if len(identity) >= name_max or len(key) > secret_max:
                return 0
            ctypes.memmove(name, identity + b"\0", len(identity) + 1)
            ctypes.memmove(secret, key, len(key))
            return len(key)

        self._on_psk = _PSK_CALLBACK(on_psk)
        _ssl.SSL_CTX_set_psk_client_callback(self._ctx, self._on_psk)
        self._ssl = _ssl.SSL_new(self._ctx)
        self._in, self._out = (_crypto.BIO_new(_crypto.BIO_s_mem()) for _ in range(2))
        for bio in (self._in, self._out):
            _crypto.BIO_ctrl(bio, _BIO_SET_MEM_EOF, -1, None)
        _ssl.SSL_set_bio(self._ssl, self._in, self._out)
        _ssl.SSL_ctrl(self._ssl, _CTRL_MTU, 1400, None)
        _ssl.SSL_set_connect_state(self._ssl)
        if session:
            assert _ssl.SSL_set_session(self._ssl, session.pointer) == 1

    def session(self):
        """What another client can be made with, as `session`, to come back."""
        return Session(_ssl.SSL_get1_session(self._ssl))

    @property
    def is_resumed(self):
        return _ssl.SSL_session_reused(self._ssl) == 1

    @property
    def source(self):
        return self.socket.getsockname()[:2]

    @property
    def suite(self):
        return _ssl.SSL_CIPHER_get_name(_ssl.SSL_get_current_cipher(self._ssl)).decode()

    @property
    def version(self):
        return _ssl.SSL_version(self._ssl)

    # ---- datagrams ----

    def flush(self):
        """Sends what libssl has written, as one datagram."""
        room = ctypes.create_string_buffer(1 << 17)
        size = _crypto.BIO_read(self._out, room, len(room))
        if size > 0:
            self.send_datagram(room.raw[:size])

    def send_datagram(self, datagram):
        try:
            self.socket.send(datagram)
        except ConnectionRefusedError:
            self.socket.send(datagram)

    def datagram(self, timeout):
        """The next datagram of the gate, unseen by libssl; None: the time is over."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                datagram = self.socket.recv(65536)
            except (ConnectionRefusedError, BlockingIOError):
                continue
            self.seen.append(datagram)
            if not self.drop(datagram):
                return datagram

    def take(self, datagram):
        assert _crypto.BIO_write(self._in, datagram, len(datagram)) == len(datagram)

    # ---- libssl ----

    def _step(self, function, *arguments):
        """Calls it; None means that it wants more from the gate."""
        _crypto.ERR_clear_error()
        result = function(self._ssl, *arguments)
        error = _ssl.SSL_get_error(self._ssl, result) if result <= 0 else 0
        reason = _crypto.ERR_reason_error_string(_crypto.ERR_get_error())
        self.flush()
        if result > 0:
            return result
        if error == _WANT_READ:
            return None
        if error == _ZERO_RETURN:
            raise Closed()
        raise Refused(reason.decode() if reason else f"error {error}")

    def connect(self, timeout=DEADLINE, repeat=1.0):
        """The whole handshake, repeating flights after `repeat` seconds (None: never)."""
        deadline = time.monotonic() + timeout
        while self._step(_ssl.SSL_do_handshake) is None:
            left = deadline - time.monotonic()
            assert left > 0, f"no handshake within {timeout} s"
            datagram = self.datagram(left if repeat is None else min(left, repeat))
            if datagram:
                self.take(datagram)
            elif repeat is not None:
                self.repeat_flight()
        return self

    def begin(self):
        """Only the first step: the first hello is on its way."""
        assert self._step(_ssl.SSL_do_handshake) is None
        return self

    def step(self, timeout=DEADLINE):
        """Takes one datagram into the handshake. True: it is complete."""
        datagram = self.datagram(timeout)
        assert datagram, "no answer"
        self.take(datagram)
        return self._step(_ssl.SSL_do_handshake) is not None

    def repeat_flight(self):
        """What the retransmission timer would do."""
        _ssl.SSL_ctrl(self._ssl, _CTRL_TIMEOUT_HANDLE, 0, None)
        self.flush()

    def send(self, data):
        assert self._step(_ssl.SSL_write, data, len(data)) == len(data)

    def recv(self, timeout=DEADLINE):
        """The next plaintext; None: the time is over. libssl swallows empty records: for those look
        at `seen`."""
        room = ctypes.create_string_buffer(1 << 15)
        deadline = time.monotonic() + timeout
        while True:
            size = self._step(_ssl.SSL_read, room, len(room))
            if size is not None:
                return room.raw[:size]
            datagram = self.datagram(max(0.0, deadline - time.monotonic()))
            if datagram is None:
                return None
            self.take(datagram)

    def ask(self, data, timeout=DEADLINE):
        self.send(data)
        return self.recv(timeout)

    def ask_surely(self, data, tries=10):
        """Asks again where a datagram may be lost, as UDP applications do."""
        for _ in range(tries):
            answer = self.ask(data, 1.0)
            if answer is not None:
                return answer
        raise AssertionError("no answer")

    def is_alive(self, data=b"are you there?"):
        return self.ask(data) == data

    def shutdown(self):
        """Says goodbye, and stays to hear the answer."""
        _ssl.SSL_shutdown(self._ssl)
        self.flush()

    def close(self):
        """Says goodbye and gives everything back."""
        self.shutdown()
        self.abandon()

    def abandon(self):
        """Is gone without a word."""
        if self._ssl:
            self.socket.close()
            _ssl.SSL_set_shutdown(self._ssl, 3)  # else its session could not be resumed
            _ssl.SSL_free(self._ssl)
            _ssl.SSL_CTX_free(self._ctx)
            self._ssl = self._ctx = None

    def wait_closed(self, timeout=DEADLINE):
        """Reads until the gate's close_notify."""
        try:
            while self.recv(timeout) is not None:
                pass
        except Closed:
            return True
        return False
