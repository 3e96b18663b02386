"""wire: a UDP middleman for one client, that loses one of the gate's flights."""

import selectors
import socket
import threading

from lib.dtls import records
from lib.hello import HANDSHAKE, SERVER_HELLO, VERIFY_REQUEST

PICKS = [
    lambda kind, epoch, body: kind == HANDSHAKE and epoch == 0 and body[0] == VERIFY_REQUEST,
    lambda kind, epoch, body: kind == HANDSHAKE and epoch == 0 and body[0] == SERVER_HELLO,
    lambda kind, epoch, body: epoch == 1,
]


class Wire:
    """`lost` is the flight whose first datagram gets lost: 0 cookie, 1 ServerHello, 2 Finished."""

    def __init__(self, gate, lost):
        self.lost = 0
        self._pick = PICKS[lost]
        self._gate = gate
        self._client = None
        self._front, self._back = (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)
        )
        self._front.bind(("127.0.0.1", 0))
        self._back.connect(gate)
        self.address = self._front.getsockname()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _is_lost(self, datagram):
        if self.lost or not any(self._pick(*record) for record in records(datagram)):
            return False
        self.lost += 1
        return True

    def _carry(self):
        watch = selectors.DefaultSelector()
        for one in (self._front, self._back):
            watch.register(one, selectors.EVENT_READ)
        while True:
            for key, _ in watch.select():
                if key.fileobj is self._back:
                    datagram = self._back.recv(65536)
                    if self._client and not self._is_lost(datagram):
                        self._front.sendto(datagram, self._client)
                    continue
                datagram, self._client = self._front.recvfrom(65536)
                if not datagram:
                    return
                self._back.send(datagram)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.address)
        self._thread.join()
        self._front.close()
        self._back.close()
