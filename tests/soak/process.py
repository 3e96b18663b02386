"""process: one that we have started, or that was left to us by one that we did.

It must never know what the program is.
"""

import os
import select
import subprocess


class Process:
    def __init__(self, pid, popen=None):
        self.pid, self._popen = pid, popen  # kept, or it would be waited for by itself
        self._status = None

    @classmethod
    def start(cls, arguments, **how):
        popen = subprocess.Popen(arguments, **how)  # pylint: disable=consider-using-with
        return cls(popen.pid, popen)

    def tell(self, number):
        os.kill(self.pid, number)

    def poll(self):
        """How it has ended, a signal below zero; None: it has not."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # whoever started it has not ended yet
                return None
            if pid != 0:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self, timeout):
        """The same, once it has ended; None: it has not in time."""
        if self.poll() is None:
            watch = os.pidfd_open(self.pid)
            try:
                select.select([watch], [], [], timeout)
            finally:
                os.close(watch)
        return self.poll()
