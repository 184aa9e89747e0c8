"""`python -m images`: stops at the first random image in which two disagree."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path as File

from second_reader.refusal import Refusal

from .case import Case, Disagreement, Tools


def run(tools: Tools, seed: str, numbers: Sequence[int]) -> dict[str, int]:
    """Runs these cases; what was compared."""
    counts = {"cases": 0, "marks": 0, "altered": 0, "refused": 0}
    for number in numbers:
        case = Case(tools, seed, number)
        try:
            case.run()
        except (Disagreement, Refusal) as error:
            raise SystemExit(f"seed {seed}, case {number} ({case.folder}): {error}") from error
        counts["cases"] += 1
        counts["marks"] += case.marks
        counts["altered"] += case.altered
        counts["refused"] += case.refused
    return counts


def main() -> None:
    """Runs the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("congruent", type=File)
    parser.add_argument("secret", type=File)
    parser.add_argument("public", type=File)
    parser.add_argument("folder", type=File)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--only", type=int, help="one case alone, by its number")
    asked = parser.parse_args()
    numbers = range(asked.cases) if asked.only is None else [asked.only]
    tools = Tools(asked.congruent, asked.secret, asked.public, asked.folder)
    print(json.dumps(run(tools, asked.seed, numbers)))


if __name__ == "__main__":
    main()
