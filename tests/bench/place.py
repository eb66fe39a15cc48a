"""User instructions of placing requests, by callgrind, and what the index needs: python3 tests/bench/place.py EXAMPLE.

EXAMPLE is `examples/place` of the crate sched, built with the profile to be judged. Only what happens inside `ask` and
`live` is counted, as the difference between two runs that differ by a known number of rounds. Repeatable whatever else the machine does. With --gate, more
than place.txt records (and 5 %) is a failure, and more than the aim; with --record it is written anew. Needs valgrind. The example itself fails when a pass weighs more slots than it may, or a record needs more bytes.
"""

import os
import re
import subprocess
import sys

ROUNDS = 200
#: How much more than is recorded a change may add, and what an arrival to a warm free slot may cost.
GROWTH, AIM = 1.05, 10_000
#: What is done, after how many rounds and inside which function it is counted. Later the pools are full, so that each
#: turn that comes in makes one forget another.
KINDS = {"warm-pool": ("warm-pool", 100, "ask"), "warm-slots": ("warm-slots", 100, "ask"), "full-pool": ("warm-pool", 1000, "ask"),
         "cold": ("cold", 100, "ask"), "plain": ("plain", 100, "live")}
RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "place.txt")


def collected(example, kind, function, rounds):
    ran = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--toggle-collect=place::servers::{function}*",
         example, kind, str(rounds)],
        capture_output=True, text=True, timeout=600, check=True)
    return int(re.search(r"Collected : (\d+)", ran.stderr).group(1))


def main():
    example, now = sys.argv[1], {}
    for kind, (what, before, function) in KINDS.items():
        few, many = (collected(example, what, function, rounds) for rounds in (before, before + ROUNDS))
        now[kind] = round((many - few) / ROUNDS)
        print(f"{kind:<12}{now[kind]:>8} user instructions" + (f", the aim is {AIM}" if kind.startswith("warm") else ""))
    if "--record" in sys.argv:
        with open(RECORD, "w", encoding="ascii") as file:
            file.writelines(f"{kind} {cost}\n" for kind, cost in now.items())
    with open(RECORD, encoding="ascii") as file:
        recorded = {kind: int(cost) for kind, cost in map(str.split, file)}
    faults = [f"{kind}: {cost} instructions, {recorded[kind]} recorded"
              for kind, cost in now.items() if cost > recorded[kind] * GROWTH]
    faults += [f"{kind}: {cost} instructions, {AIM} at most" for kind, cost in now.items()
               if kind.startswith("warm") and cost > AIM]
    if "--gate" in sys.argv:
        if faults:
            raise SystemExit("make it cheaper, or --record it and say why:\n" + "\n".join(faults))
        for what in ([], ["index"]):
            subprocess.run([example, *what], timeout=600, check=True)


if __name__ == "__main__":
    main()
