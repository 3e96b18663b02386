"""gnutls: a client of GnuTLS' library on a socket of its own.

gnutls-cli dies behind a handshake with (EC)DHE-PSK, its library does not. It must never know
anything of dtlsgate but its address.
"""

import ctypes
import socket

from lib.gate import IDENTITY, KEY

_DATAGRAM, _CLIENT = 1 << 2, 1 << 1
_CRD_PSK, _PSK_KEY_RAW = 4, 0
_AGAIN, _INTERRUPTED = -28, -52
_PATIENCE_MS = 20000


class _Datum(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_uint)]


class _Blob(ctypes.Structure):
    """The same for what the library has made, which may hold zeros."""

    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_uint)]


_lib = ctypes.CDLL("libgnutls.so.30")
_void, _char = ctypes.c_void_p, ctypes.c_char_p
_lib.gnutls_strerror.restype = _char
_lib.gnutls_record_send.argtypes = [_void, _char, ctypes.c_size_t]
_lib.gnutls_record_send.restype = ctypes.c_ssize_t
_lib.gnutls_record_recv.argtypes = [_void, _char, ctypes.c_size_t]
_lib.gnutls_record_recv.restype = ctypes.c_ssize_t
_lib.gnutls_session_set_data.argtypes = [_void, _char, ctypes.c_size_t]
_lib.gnutls_deinit.restype = _lib.gnutls_psk_free_client_credentials.restype = None


def _fine(result):
    assert result >= 0, _lib.gnutls_strerror(int(result)).decode()
    return result


class GnutlsClient:
    """One association; `data` is what another one has left, to come back with."""

    def __init__(self, address, priority, data=None, identity=IDENTITY, key=KEY):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(address)
        self._session, self._credentials = _void(), _void()
        secret = _Datum(key, len(key))
        _fine(_lib.gnutls_init(ctypes.byref(self._session), _DATAGRAM | _CLIENT))
        _fine(_lib.gnutls_psk_allocate_client_credentials(ctypes.byref(self._credentials)))
        _fine(
            _lib.gnutls_psk_set_client_credentials(
                self._credentials, identity.encode(), ctypes.byref(secret), _PSK_KEY_RAW
            )
        )
        _fine(_lib.gnutls_credentials_set(self._session, _CRD_PSK, self._credentials))
        _fine(_lib.gnutls_priority_set_direct(self._session, priority.encode(), None))
        _lib.gnutls_dtls_set_timeouts(self._session, 1000, _PATIENCE_MS)
        file = self.socket.fileno()
        _lib.gnutls_transport_set_int2(self._session, file, file)
        if data is not None:
            _fine(_lib.gnutls_session_set_data(self._session, data, len(data)))

    def connect(self):
        result = _AGAIN
        while result in (_AGAIN, _INTERRUPTED):
            result = _lib.gnutls_handshake(self._session)
        _fine(result)
        return self

    def ask(self, data):
        room = ctypes.create_string_buffer(2048)
        _fine(_lib.gnutls_record_send(self._session, data, len(data)))
        size = _fine(_lib.gnutls_record_recv(self._session, room, len(room)))
        return room.raw[:size]

    @property
    def is_resumed(self):
        return _lib.gnutls_session_is_resumed(self._session) != 0

    @property
    def has_ems(self):
        return _lib.gnutls_session_ext_master_secret_status(self._session) != 0

    def data(self):
        """What the next one can come back with."""
        found = _Blob()
        _fine(_lib.gnutls_session_get_data2(self._session, ctypes.byref(found)))
        return ctypes.string_at(found.data, found.size)

    def close(self):
        _lib.gnutls_bye(self._session, 1)
        _lib.gnutls_deinit(self._session)
        _lib.gnutls_psk_free_client_credentials(self._credentials)
        self.socket.close()
