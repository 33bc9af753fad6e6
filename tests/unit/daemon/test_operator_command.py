"""/usr/local/bin/openbell: any command as the service would run it."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "systemd" / "openbell.sh"
OWN_STATE = "OPENBELL__STATE__DIRECTORY=/var/lib/openbell"


def run_by(tmp_path: Path, environment: str, *words: str) -> list[str]:
    """Return what the script hands to ``runuser``, with this environment of the service."""
    (tmp_path / "environment").write_text(f"{environment}\n", encoding="utf-8")
    stubs = {
        "id": "echo 0",
        "systemctl": f"cat {tmp_path}/environment",
        "runuser": 'printf "%s\\n" "$@"',
    }
    for name, text in stubs.items():
        stub = tmp_path / name
        stub.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        stub.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", str(SCRIPT), *words], env={"PATH": path}, capture_output=True, check=True
    )
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize(
    ("environment", "kept"),
    [
        (OWN_STATE, []),
        (f"{OWN_STATE} OPENBELL_LIVE=1 PATH=/elsewhere", ["OPENBELL_LIVE=1"]),
        (
            f"{OWN_STATE} OPENBELL__BROKER__ALPACA__TRADING_URL=https://broker.example",
            ["OPENBELL__BROKER__ALPACA__TRADING_URL=https://broker.example"],
        ),
        # As systemd 252 writes a value with a blank, a list, and what a shell would take apart.
        (
            f'{OWN_STATE} "OPENBELL__STATE__DIRECTORY=/srv/my books" OPENBELL_LIVE=1',
            ["OPENBELL__STATE__DIRECTORY=/srv/my books", "OPENBELL_LIVE=1"],
        ),
        (
            rf'"OPENBELL__UNIVERSE__SYMBOLS=[\"SPY\",\"QQQ\"]" {OWN_STATE}',
            ['OPENBELL__UNIVERSE__SYMBOLS=["SPY","QQQ"]'],
        ),
        (r'''"OPENBELL__Q=it's \$5 \\ * \`id\`" ELSE="a b"''', [r"OPENBELL__Q=it's $5 \ * `id`"]),
    ],
)
def test_a_command_sees_what_a_drop_in_of_the_service_sets(
    tmp_path: Path, environment: str, kept: list[str]
) -> None:
    words = run_by(tmp_path, environment, "kill", "--reason", "two words")

    assert words[:5] == [
        *("-u", "openbell", "--", "env"),
        "CREDENTIALS_DIRECTORY=/etc/openbell/credentials",
    ]
    settings = words[5 : words.index("/opt/openbell/.venv/bin/openbell")]
    assert set(settings) == {OWN_STATE, *kept}
    assert words[-3:] == ["kill", "--reason", "two words"]


def test_the_last_word_on_a_key_is_the_drop_ins(tmp_path: Path) -> None:
    words = run_by(tmp_path, "OPENBELL__STATE__DIRECTORY=/srv/books", "status")

    states = [word for word in words if word.startswith("OPENBELL__STATE__DIRECTORY=")]
    assert states[-1] == "OPENBELL__STATE__DIRECTORY=/srv/books"
