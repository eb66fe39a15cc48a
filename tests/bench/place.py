"""User instructions of placing requests, by callgrind, and what the index needs: python3 tests/bench/place.py EXAMPLE.

EXAMPLE is `examples/place` of the crate sched, built with the profile to be judged. Only what happens inside `ask` and
`live` is counted, as the difference between two runs that differ by a known number of rounds. Repeatable whatever else the machine does. With --gate, more
than place.txt records (and 5 %) is a failure; with --record it is written anew. Needs valgrind. The example itself fails when a pass weighs more slots than it may, or a record needs more bytes.
"""

import os
import re
import subprocess
import sys

FEW, MANY = 100, 300
#: How much more than is recorded a change may add, and what an arrival to a warm free slot should cost.
GROWTH, AIM = 1.05, 10_000
#: What is done, and inside which function it is counted.
KINDS = {"warm-pool": "ask", "warm-slots": "ask", "cold": "ask", "plain": "live"}
RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "place.txt")


def collected(example, kind, function, rounds):
    ran = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--toggle-collect=place::servers::{function}*",
         example, kind, str(rounds)],
        capture_output=True, text=True, timeout=600, check=True)
    return int(re.search(r"Collected : (\d+)", ran.stderr).group(1))


def main():
    example, now = sys.argv[1], {}
    for kind, function in KINDS.items():
        few, many = (collected(example, kind, function, rounds) for rounds in (FEW, MANY))
        now[kind] = round((many - few) / (MANY - FEW))
        print(f"{kind:<12}{now[kind]:>8} user instructions" + (f", the aim is {AIM}" if kind.startswith("warm") else ""))
    if "--record" in sys.argv:
        with open(RECORD, "w", encoding="ascii") as file:
            file.writelines(f"{kind} {cost}\n" for kind, cost in now.items())
    with open(RECORD, encoding="ascii") as file:
        recorded = {kind: int(cost) for kind, cost in map(str.split, file)}
    faults = [f"{kind}: {cost} instructions, {recorded[kind]} recorded"
              for kind, cost in now.items() if cost > recorded[kind] * GROWTH]
    if "--gate" in sys.argv:
        if faults:
            raise SystemExit("make it cheaper, or --record it and say why:\n" + "\n".join(faults))
        for what in ([], ["index"]):
            subprocess.run([example, *what], timeout=600, check=True)


if __name__ == "__main__":
    main()
