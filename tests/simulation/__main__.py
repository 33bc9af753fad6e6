# ruff: noqa: T201 - a command prints its figures
"""Run seeds, all crash points of canonical days, or planted bugs; see docs/reliability.md."""

import argparse
import sys
from collections.abc import Iterable
from functools import partial

from tests.simulation import exhaustive, many, measured, planted
from tests.simulation.faults import Faults
from tests.simulation.simulation import Outcome, Scenario, simulate


def main() -> int:
    """Return 0 when nothing was violated."""
    options = _parser().parse_args()
    many.be_quick()
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
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no seed after these")
    parser.add_argument("--seed", type=int, help="replay one seed")
    parser.add_argument("--drop", default="", help="fault classes to leave out, with commas")
    parser.add_argument("--only", default="", help="the only fault classes, with commas")
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
        only=frozenset(options.only.split(",")) if options.only else None,
        look_seconds=options.look,
        is_canary=options.canary,
    )


def _command(options: argparse.Namespace, seed: int, dropped: Iterable[str] = ()) -> str:
    words = [f".venv/bin/python -m tests.simulation --seed {seed} --days {options.days}"]
    if options.look is not None:
        words.append(f"--look {options.look:g}")
    if options.canary:
        words.append("--canary")
    if options.only:
        words.append(f"--only {options.only}")
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
    only = _scenario(options, options.seed).only
    for name in sorted(Faults(options.seed, only=only).rates):
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
    dropped = {name for name in options.drop.split(",") if name}

    def tell_bad(outcome: Outcome) -> None:
        print(f"\nseed {outcome.seed}:")
        for invariant, text in outcome.violations:
            print(f"  VIOLATION {invariant}: {text}")
        print(f"  replay: {_command(options, outcome.seed, dropped)}", flush=True)

    tally = many.play(
        range(options.seed_start, options.seed_start + options.seeds),
        partial(_scenario, options, dropped=dropped),
        jobs=options.jobs,
        minutes=options.minutes,
        on_bad=tell_bad,
        stops=options.stop,
        is_quiet=options.quiet,
    )
    many.tell(tally, options.seed_start, with_fault_rows=options.fault_rows)
    return 1 if tally.bad else 0


if __name__ == "__main__":
    sys.exit(main())
