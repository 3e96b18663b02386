"""The completion of dtlsgatectl's words, as bash asks for it."""

import os
import pathlib
import subprocess

import pytest

from lib.control import Control, ctl_path

SCRIPT = pathlib.Path(__file__).parents[2] / "packaging" / "completions" / "dtlsgatectl"
ASK = """
. "$1"; shift
COMP_WORDS=(dtlsgatectl "$@"); COMP_CWORD=$#
_dtlsgatectl
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def complete(gate, echo, tmp_path):
    """The words that may follow, the last of those given being what was typed of the next."""
    path = tmp_path / "control.sock"
    one = gate(echo, daemon={"control-socket": path})

    def ask(*words):
        line = ["bash", "-c", ASK, "bash", str(SCRIPT), "-s", str(path), *words]
        place = {**os.environ, "PATH": f"{ctl_path().parent}:{os.environ['PATH']}"}
        done = subprocess.run(line, capture_output=True, text=True, env=place, check=True)
        return done.stdout.split()

    ask.gate, ask.echo, ask.control = one, echo, Control(path)
    return ask


def test_commands_are_those_of_the_process(complete):
    listed = {c["name"] for c in complete.control.json("help")["commands"]}
    assert set(complete("")) == listed | {"top"}
    assert complete("und") == ["undrain"]


def test_each_command_that_takes_words_has_some(complete):
    for command in complete.control.json("help")["commands"]:
        words = set(complete(command["name"], "")) - {"--json"}
        assert words or not command["arguments"] or command["name"] in ("session", "end"), command


def test_a_backend_by_service_address_and_order(complete, client):
    address = complete.echo.address
    assert complete("backend", "") == ["default"]
    assert complete("backend", "default", "") == [address]
    host, port = address.split(":")
    assert complete("backend", "default", host, ":", port, "d") == ["drain"]


def test_a_session_by_its_id(complete, client):
    assert client(complete.gate).connect().is_alive()
    (row,) = complete.control.json("sessions")["sessions"]
    for command in ("end", "session"):
        assert set(complete(command, "")) == {str(row["id"]), "--json"}


def test_words_of_one_command_are_no_others(complete):
    assert complete("stop", "f") == ["farewell"]
    assert complete("sessions", "--service", "") == ["default"]
    assert complete("log-level", "w") == ["warning"]
    assert complete("trace", "x", "--k") == ["--keylog"]
