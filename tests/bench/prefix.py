"""User instructions of reading a body and of the blocks of its prompt, by callgrind: python3 tests/bench/prefix.py EXAMPLE.

EXAMPLE is `examples/prefix` of the crate wire, built with the profile to be judged. The difference between two runs that
differ by a known number of rounds alone. Repeatable whatever else the machine does. With --gate, more than prefix.txt
records (and 5 %) is a failure; with --record it is written anew. Needs valgrind.
"""

import os
import re
import subprocess
import sys

FEW, MANY = 5, 55
#: How much more than is recorded a change may add.
GROWTH = 1.05
KINDS = ["chat-1k", "anthropic-1k", "chat", "anthropic-code", "chat-tools", "chat-foreign-escaped"]
RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "prefix.txt")


def collected(example, kind, rounds, what):
    ran = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", example, kind, str(rounds), what],
        capture_output=True, text=True, timeout=600, check=True)
    said = re.search(r"(\d+) bytes, (\d+) blocks", ran.stdout)
    return int(re.search(r"Collected : (\d+)", ran.stderr).group(1)), int(said.group(1)), int(said.group(2))


def main():
    example, now = sys.argv[1], {}
    print(f"{'kind':<22}{'bytes':>9}{'blocks':>8}{'read':>12}{'blocks':>12}  a byte")
    for kind in KINDS:
        costs = []
        for what in ("read", "blocks"):
            few, _, _ = collected(example, kind, FEW, what)
            many, size, blocks = collected(example, kind, MANY, what)
            costs.append(round((many - few) / (MANY - FEW)))
        now[kind] = costs
        print(f"{kind:<22}{size:>9}{blocks:>8}{costs[0]:>12}{costs[1]:>12}  {costs[0] / size:.2f} + {costs[1] / size:.2f}")
    if "--record" in sys.argv:
        with open(RECORD, "w", encoding="ascii") as file:
            file.writelines(f"{kind} {costs[0]} {costs[1]}\n" for kind, costs in now.items())
    with open(RECORD, encoding="ascii") as file:
        recorded = {kind: [int(cost) for cost in costs] for kind, *costs in map(str.split, file)}
    grown = [f"{kind}: {cost} instructions of {what}, {old} recorded"
             for kind, costs in now.items() for what, cost, old in zip(("read", "blocks"), costs, recorded[kind])
             if cost > old * GROWTH]
    if "--gate" in sys.argv and grown:
        raise SystemExit("make it cheaper, or --record it and say why:\n" + "\n".join(grown))


if __name__ == "__main__":
    main()
