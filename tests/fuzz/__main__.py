"""`python -m tests.fuzz --minutes N`: mutates valid messages, decodes, and tells what was neither refused nor right."""

import argparse
import sys
import time
import traceback
from random import Random, SystemRandom

from broker.errors import PeerError
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS, Target

BATCH = 500


class Tally:
    """What came of one target so far."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.tried = self.accepted = 0
        self.slowest, self.slowest_octets = 0.0, b""
        self.findings: dict[str, str] = {}

    def batch(self, random: Random, count: int = BATCH) -> None:
        """Try so many messages, each mutated from a valid one."""
        pool = [self.target.valid(random) for _ in range(20)]
        for _ in range(count):
            self._try(mutated(random, random.choice(pool), random.choice(pool)))

    def _try(self, octets: bytes) -> None:
        self.tried += 1
        started = time.process_time()
        try:
            self.target.judge(octets)
            self.accepted += 1
        except PeerError:
            pass
        except Exception:
            trace = traceback.format_exc()
            self.findings.setdefault(trace.splitlines()[-3] + trace.splitlines()[-1], f"{octets.hex()}\n{trace}")
        took = time.process_time() - started
        if took > self.slowest:
            self.slowest, self.slowest_octets = took, octets

    def report(self) -> str:
        """One line."""
        name = f"{self.target.name:16}"
        return (
            f"{name} {self.tried:>10,} tried {self.accepted:>10,} accepted {len(self.findings)} findings; "
            f"slowest {self.slowest * 1e3:.2f} ms, {len(self.slowest_octets)} octets"
        )


def main(arguments: list[str]) -> int:
    """0 if nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32))
    parser.add_argument("--only", choices=[target.name for target in TARGETS])
    chosen = parser.parse_args(arguments)
    tallies = [Tally(target) for target in TARGETS if chosen.only in (None, target.name)]
    random, end = Random(chosen.seed), time.monotonic() + chosen.minutes * 60
    print(f"seed {chosen.seed}")
    while time.monotonic() < end:
        for tally in tallies:
            tally.batch(random)
    for tally in tallies:
        print(tally.report())
        for finding in tally.findings.values():
            print(f"\n--- {tally.target.name}: {finding}")
    return int(any(tally.findings for tally in tallies))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
