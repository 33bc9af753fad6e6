# ruff: noqa: T201 - a command prints its figures
"""Run seeds, all crash points of canonical days, or planted bugs; see docs/reliability.md."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable

from tests.simulation import exhaustive, fault_counts, measured, planted
from tests.simulation.faults import CLASSES, Faults
from tests.simulation.simulation import Outcome, Scenario, simulate

_TWICE_EVERY = 50


def main() -> int:
    """Return 0 when nothing was violated."""
    options = _parser().parse_args()
    if options.coverage:
        return measured.run(seeds=options.seeds, days=options.days, look=options.look)
    if options.planted:
        return planted.run(options.planted_names, most_seeds=options.seeds)
    if options.exhaustive:
        return exhaustive.run(options.exhaustive, options.mode, only=options.branch)
    if options.seed is not None:
        return _one(options)
    return _many(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds")
    parser.add_argument("--days", type=int, default=2, help="sessions of each seed")
    parser.add_argument("--seed-start", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no seed after these")
    parser.add_argument("--seed", type=int, help="replay one seed")
    parser.add_argument("--drop", default="", help="fault classes to leave out, with commas")
    parser.add_argument("--shrink", action="store_true", help="find the faults that it takes")
    parser.add_argument("--stop", action="store_true", help="stop at the first violation")
    parser.add_argument("--look", type=float, help="seconds between looks at the broker")
    parser.add_argument("--canary", action="store_true", help="judge by a rule that must fail")
    parser.add_argument("--fault-rows", action="store_true", help="how often each row fired")
    parser.add_argument("--coverage", action="store_true", help="which lines the seeds reach")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument(
        "--exhaustive", metavar="DAY", help=f"all, or one of: {', '.join(exhaustive.DAYS)}"
    )
    modes = "; ".join(f"{name}: {text}" for name, text in exhaustive.MODES.items())
    parser.add_argument("--mode", choices=exhaustive.MODES, default="crashes", help=modes)
    parser.add_argument(
        "--branch", action="append", default=[], help="replay the branch of this name alone"
    )
    parser.add_argument("--planted", action="store_true", help="are planted bugs caught?")
    parser.add_argument("planted_names", nargs="*", help="only these planted bugs")
    return parser


def _scenario(options: argparse.Namespace, seed: int, dropped: Iterable[str] = ()) -> Scenario:
    return Scenario(
        seed=seed,
        days=options.days,
        dropped=frozenset(dropped),
        look_seconds=options.look,
        is_canary=options.canary,
    )


def _command(options: argparse.Namespace, seed: int, dropped: Iterable[str] = ()) -> str:
    words = [f".venv/bin/python -m tests.simulation --seed {seed} --days {options.days}"]
    if options.look is not None:
        words.append(f"--look {options.look:g}")
    if options.canary:
        words.append("--canary")
    if dropped:
        words.append(f"--drop {','.join(sorted(dropped))}")
    return " ".join(words)


def _one(options: argparse.Namespace) -> int:
    dropped = {name for name in options.drop.split(",") if name}
    outcome = simulate(_scenario(options, options.seed, dropped))
    _tell(outcome)
    if options.shrink and outcome.violations:
        dropped = _shrink(options, dropped, outcome.violations[0][0])
        left = [n for n in outcome.faults if n not in dropped]
        print(f"it takes: {', '.join(left) or 'no fault at all'}")
        print(_command(options, options.seed, dropped))
    return 1 if outcome.violations else 0


def _shrink(options: argparse.Namespace, dropped: set[str], invariant: str) -> set[str]:
    """Drop one class after the other, for as long as the same invariant is violated."""
    for name in sorted(Faults(options.seed).rates):
        if name in dropped:
            continue
        outcome = simulate(_scenario(options, options.seed, {*dropped, name}))
        if any(found == invariant for found, _ in outcome.violations):
            dropped = {*dropped, name}
    return dropped


def _tell(outcome: Outcome) -> None:
    print(
        f"seed {outcome.seed}: trace {outcome.trace}, {outcome.lives} lives, {outcome.steps} steps,"
        f" {outcome.orders} orders sent, {outcome.executions} executions"
    )
    for name, count in sorted(outcome.faults.items()):
        print(f"  {count:6} {name}")
    for invariant, text in outcome.violations:
        print(f"  VIOLATION {invariant}: {text}")


def _many(options: argparse.Namespace) -> int:
    started, outcomes, bad, repeated = time.process_time(), [], 0, 0
    dropped = {name for name in options.drop.split(",") if name}
    until = time.monotonic() + options.minutes * 60
    for seed in range(options.seed_start, options.seed_start + options.seeds):
        if time.monotonic() > until:
            break
        outcome = simulate(_scenario(options, seed, dropped))
        outcomes.append(outcome)
        if seed % _TWICE_EVERY == 0:
            repeated += 1
            again = simulate(_scenario(options, seed, dropped))
            if again.trace != outcome.trace:
                outcome.violations.append(("I21", f"{outcome.trace}, then {again.trace}"))
        if outcome.violations:
            bad += 1
            _tell_violations(outcome, _command(options, seed, dropped))
            if options.stop:
                break
        if not options.quiet and len(outcomes) % 10 == 0:
            _progress(len(outcomes), options, started, bad)
    _summary(outcomes, options.days, time.process_time() - started, repeated)
    if options.fault_rows:
        print(fault_counts.table(sum((one.faults for one in outcomes), Counter[str]())))
    return 1 if bad else 0


def _progress(done: int, options: argparse.Namespace, started: float, bad: int) -> None:
    rate = done * options.days / max(time.process_time() - started, 0.001)
    sys.stderr.write(
        f"\r{done}/{options.seeds} seeds, {rate:.1f} days a second, {bad} with violations "
    )
    sys.stderr.flush()
    if done == options.seeds:
        sys.stderr.write("\n")


def _tell_violations(outcome: Outcome, replay: str) -> None:
    print(f"\nseed {outcome.seed}:")
    for invariant, text in outcome.violations:
        print(f"  VIOLATION {invariant}: {text}")
    print(f"  replay: {replay}")


def _summary(outcomes: list[Outcome], days: int, seconds: float, repeated: int) -> None:
    faults: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    for outcome in outcomes:
        faults.update(outcome.faults)
        broken.update({invariant for invariant, _ in outcome.violations})
    played = len(outcomes) * days
    rows = {
        "seeds": f"{len(outcomes)}, from {outcomes[0].seed} on" if outcomes else "none",
        "simulated days": played,
        "lives of the daemon": sum(o.lives for o in outcomes),
        "durable steps and writes": sum(o.steps for o in outcomes),
        "orders sent": sum(o.orders for o in outcomes),
        "executions": sum(o.executions for o in outcomes),
        "kills / resumes": f"{sum(o.kills for o in outcomes)} / {sum(o.resumes for o in outcomes)}",
        "reports / reconciled": (
            f"{sum(o.reports for o in outcomes)} / {sum(o.reconciled for o in outcomes)}"
        ),
        "faults fired": sum(faults.values()),
        "seeds played twice": repeated,
        "CPU seconds": f"{seconds:.1f}",
        "days per CPU second": f"{(played + repeated * days) / max(seconds, 0.001):.1f}",
        "seeds with violations": sum(1 for o in outcomes if o.violations),
    }
    print("\nfaults by class")
    for name in CLASSES:
        print(f"  {faults[name]:8} {name}")
    print()
    for name, value in rows.items():
        print(f"{name:26} {value}")
    for invariant, count in sorted(broken.items()):
        print(f"{invariant:26} violated by {count} seeds")


if __name__ == "__main__":
    sys.exit(main())
