"""An upgrade: a new process takes over, and nobody notices but the operator."""

import pytest

from lib.control import Control
from lib.gate import adopt_orphans


@pytest.fixture
def control(tmp_path):
    adopt_orphans()
    return Control(tmp_path / "control.sock")


@pytest.fixture
def start(gate, echo, control):
    """A gate with a control socket."""

    def start_it(daemon=None, **how):
        place = {"control-socket": control.path, "workers": 2}
        return gate(how.pop("to", echo), daemon={**place, **(daemon or {})}, **how)

    return start_it


@pytest.fixture
def upgrade(control):
    """Upgrades a gate; the answer of the control socket."""

    def upgrade_it(g):
        answer = control.json("upgrade")
        assert answer["upgraded"] is True
        g.follow(answer["pid"])
        return answer

    return upgrade_it


def test_sessions_go_on(start, client, upgrade, echo):
    g = start()
    clients = [client(g).connect() for _ in range(20)]
    for c in clients:
        assert c.ask(b"before") == b"before"
    ports = echo.ports
    answer = upgrade(g)
    assert answer["sessions"] == 20 and answer["left-behind"] == 0
    for c in clients:
        assert c.ask(b"behind") == b"behind"
    assert echo.ports == ports
    assert client(g).connect().ask(b"new") == b"new"
