"""``arm-live``: a person at this machine confirms which account real money is traded in."""

from daemon.command_line import Options
from daemon.commands.output import console, print_json
from daemon.config import load
from daemon.live_mode import DROP_IN, arm
from domain.clock import SystemClock
from domain.errors import ConfigError


def arm_live(options: Options, *, account: str, confirm: str) -> None:
    """Store the typed account number; it is one of three confirmations."""
    config = load(options.config)
    if config.mode != "live":
        raise ConfigError('mode = "paper": set mode = "live" first; paper mode needs no arming')
    path = arm(config, account=account, confirm=confirm, clock=SystemClock())
    if options.json:
        print_json({"account": account, "file": str(path)})
        return
    console().print(f"Armed for account {account}; {path} holds it, remove the file to disarm.")
    console().print(f"The daemon also needs {DROP_IN}=1 from a drop-in of its service.")
