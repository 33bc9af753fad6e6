"""``doctor``: one line per check, each problem with its fix."""

from collections.abc import Sequence

from daemon import event_loop
from daemon.command_line import Options
from daemon.commands.output import console, print_json
from daemon.config import Config, load
from daemon.doctor.finding import Finding, Status, exit_code, failed, refused
from daemon.doctor.local import local_findings
from daemon.doctor.remote import remote_findings
from domain.clock import SystemClock
from domain.errors import ConfigError

_MARKS = {Status.OK: "ok", Status.WARNING: "warn", Status.FAILED: "FAIL"}
_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "red"}


def doctor(options: Options) -> int:
    """Check everything; return the exit status."""
    try:
        config = load(options.config)
    except ConfigError as exc:
        return _show([refused("config", str(exc))], options)
    findings = list(local_findings(config, options.config))
    if _may_ask(findings):
        findings += event_loop.run(config, _remote(config), speed=1)
    else:
        text = "not asked: the configuration or the keys come first"
        findings.append(failed("broker", text, fix="repair what failed above", exit_code=78))
    return _show(findings, options)


def _may_ask(findings: Sequence[Finding]) -> bool:
    needed = {"config", "mode", "keys"}
    return not any(f.status is Status.FAILED and f.name in needed for f in findings)


async def _remote(config: Config) -> list[Finding]:
    # Real time, whatever time the daemon replays: latencies and skew are real.
    return [finding async for finding in remote_findings(config, SystemClock())]


def _show(findings: Sequence[Finding], options: Options) -> int:
    code = exit_code(findings)
    if options.json:
        print_json({"ok": code == 0, "checks": [finding.as_json() for finding in findings]})
        return code
    out = console()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        style = _STYLES[finding.status]
        out.print(f"{_MARKS[finding.status]:4}", style=style, end="  ")
        out.print(_line(finding, width), soft_wrap=True)
    warnings = sum(finding.status is Status.WARNING for finding in findings)
    failures = sum(finding.status is Status.FAILED for finding in findings)
    out.print(f"{len(findings)} checks, {failures} failed, {warnings} with a warning")
    return code


def _line(finding: Finding, width: int) -> str:
    fix = f" -> {finding.fix}" if finding.fix else ""
    return f"{finding.name:{width}}  {finding.text}{fix}".replace("\n", " ")
