"""Does searching free text cost a fifteenth of Presidio, with the same findings?

50,000 texts of about 400 characters, four in ten holding something to find, are searched for Presidio's patterns and
for 300,000 known persons; Presidio's BatchAnalyzerEngine searches a sample of the same texts with the same recognisers
and context words, in turns with ours, and is compared per text. Then the findings are compared, one by one, on every
text of the shared data (where it is beside the checkout) and on freshly mutated ones.

Run: python -m benchmarks.free_text_throughput [--texts 50000] [--known 300000] [--sample 2000] [--mutations 20000]
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import string
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from presidio_analyzer import BatchAnalyzerEngine

from ds_pipelines.extract.free_text.engine import build_engine
from ds_pipelines.extract.free_text.findings import Finding
from ds_pipelines.extract.free_text.known import KnownPersons, PersonColumns
from ds_pipelines.extract.free_text.mutations import mutated
from ds_pipelines.extract.free_text.patterns import PatternFinder
from ds_pipelines.extract.free_text.residual import ordinary_sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SHARED = Path(__file__).parents[2] / "shared" / "data"
GOALS = {"prose": 15.0, "dense": 5.0}
TURNS = 5
LINEAR = 1.3  # CPU seconds a text on all of them, over those on half of them; 2 were quadratic growth
LENGTH = 400
SEED = 20_260_101


def identifying(chance: random.Random, person: Sequence[str]) -> str:
    """Return a sentence that holds something to find."""
    digits = "".join(chance.choices(string.digits, k=10))
    name = " ".join(person)
    return chance.choice(
        [
            f"Please call me on {digits[:3]}-{digits[3:6]}-{digits[6:]} tomorrow.",
            f"My phone number is +44 20 7{digits[:3]} {digits[3:7]}.",
            f"Write to {person[0].lower()}.{person[1].lower()}@example.com about it.",
            f"The delivery was promised for {digits[0]}{digits[1]}/0{chance.randint(1, 9)}/2019.",
            f"I paid with card 4111 1111 1111 {digits[:4]} last week.",
            f"See https://www.example.org/{digits}/order for details.",
            f"My name is {name} and nobody answered.",
            f"The order {digits[:9]} never came.",
        ]
    )


def prose(count: int, people: Sequence[Sequence[str]], seed: int) -> list[str]:
    """Return texts of about `LENGTH` characters, four in ten with an identifying sentence."""
    chance, sentences = random.Random(seed), ordinary_sentences()
    texts = []
    for _ in range(count):
        parts: list[str] = []
        while sum(map(len, parts)) < LENGTH - 60:
            parts.append(chance.choice(sentences))
        if chance.random() < 0.4:
            parts.insert(chance.randrange(len(parts) + 1), identifying(chance, chance.choice(people)))
        texts.append(" ".join(parts))
    return texts


def dense(count: int, people: Sequence[Sequence[str]], seed: int) -> list[str]:
    """Return short texts that nearly all hold something: the shared synthetic corpus, or sentences like it."""
    corpus = SHARED / "text" / "generated_large.json"
    chance = random.Random(seed)
    if corpus.exists():
        texts = [entry["full_text"] for entry in json.loads(corpus.read_text())]
        return [texts[place % len(texts)] for place in range(count)]
    return [" ".join(identifying(chance, chance.choice(people)) for _ in range(2)) for _ in range(count)]


def invented_people(count: int, seed: int) -> list[tuple[str, str]]:
    """Return first and last names, pronounceable, most of them different."""
    chance = random.Random(seed)

    def word(syllables: int) -> str:
        return "".join(chance.choice("bdfgklmnprstvz") + chance.choice("aeiou") for _ in range(syllables)).title()

    firsts = [word(chance.randint(2, 3)) for _ in range(4_000)]
    return [(chance.choice(firsts), word(chance.randint(3, 5))) for _ in range(count)]


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of all threads that `work` takes."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def presidio(batch: BatchAnalyzerEngine, texts: Sequence[str]) -> Iterator[list[Finding]]:
    for results in batch.analyze_iterator(texts, language="en", batch_size=256):
        yield [Finding(one.entity_type, one.start, one.end, one.score) for one in results]


def different(finder: PatternFinder, texts: Sequence[str]) -> list[str]:
    """Return the texts in which our findings are not Presidio's."""
    batch = BatchAnalyzerEngine(finder.engine)
    pairs = zip(texts, finder.find_in(texts), presidio(batch, texts), strict=True)
    return [text for text, ours, theirs in pairs if ours != theirs]


def shared_texts() -> list[str]:
    """Return every text of the shared data, or none where it is not beside the checkout."""
    folder = SHARED / "text"
    if not folder.exists():
        return []
    texts = [entry["full_text"] for entry in json.loads((folder / "generated_large.json").read_text())]
    texts += (folder / "templates.txt").read_text(errors="replace").splitlines()
    texts += (folder / "FakeNameGenerator.com_3000.csv").read_text(errors="replace").splitlines()
    return texts + list(json.loads((SHARED / "adversarial" / "naughty_strings.json").read_text()))


def measure(
    kind: str, texts: list[str], sample: int, finder: PatternFinder, known: KnownPersons
) -> tuple[float, float, float]:
    """Print one row and return: how many times fewer CPU seconds a text, the gates' share, and the growth."""
    column, half = pl.Series(texts), pl.Series(texts[: len(texts) // 2])
    batch = BatchAnalyzerEngine(finder.engine)
    chosen = random.Random(SEED).sample(texts, min(sample, len(texts)))

    def search(some: pl.Series) -> None:
        finder.find(some)
        known.find(some)

    search(column.head(500))
    ours, theirs, halves, gates = [], [], [], []
    for _ in range(TURNS):
        theirs.append(cpu(lambda: list(presidio(batch, chosen))) / len(chosen))
        ours.append(cpu(lambda: search(column)) / len(column))
        halves.append(cpu(lambda: search(half)) / len(half))
        gates.append(cpu(lambda: finder.opened(column)) / len(column))
    us, them, gate = min(ours), min(theirs), min(gates)
    growth = us / min(halves)
    print(
        f"{kind:<7}{len(texts):>8}{statistics.mean(map(len, texts)):>7.0f}{1 / them:>12,.0f}{1 / us:>10,.0f}"
        f"{1 / gate:>12,.0f}{them / us:>9.1f}{GOALS[kind]:>7.0f}{growth:>9.2f}"
    )
    return them / us, them / gate, growth


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=50_000)
    parser.add_argument("--known", type=int, default=300_000)
    parser.add_argument("--sample", type=int, default=2_000, help="texts that Presidio is timed on, in each turn")
    parser.add_argument("--mutations", type=int, default=20_000, help="mutated texts to compare findings on")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the mutations")
    options = parser.parse_args()
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)

    finder = PatternFinder(build_engine())
    people = invented_people(options.known, SEED)
    frame = pl.DataFrame({"id": range(len(people)), "name": [" ".join(person) for person in people]})
    begun = time.process_time()
    known = KnownPersons.of(frame, PersonColumns("id", names=["name"]))
    print(f"{len(people):,} known persons learnt in {time.process_time() - begun:.1f} CPU s, once.")
    print(f"Texts per CPU second; Presidio timed on {options.sample:,} of the texts, best of {TURNS} turns each.")
    print(f"{'':<7}{'texts':>8}{'chars':>7}{'Presidio':>12}{'ours':>10}{'gates only':>12}", end="")
    print(f"{'times':>9}{'goal':>7}{'growth':>9}")
    made = {"prose": prose(options.texts, people, SEED), "dense": dense(options.texts, people, SEED)}
    figures = {kind: measure(kind, texts, options.sample, finder, known) for kind, texts in made.items()}

    mutations = list(mutated([*made["prose"][:2_000], *shared_texts()], options.mutations, options.seed))
    compared = {
        "texts of the shared data": shared_texts(),
        f"mutated texts (seed {options.seed})": mutations,
        "texts of the sample": random.Random(SEED).sample(made["prose"], min(options.sample, options.texts)),
    }
    unlike = 0
    for name, texts in compared.items():
        differing = different(finder, texts)
        unlike += len(differing)
        print(f"{len(texts):>8,} {name}: {len(differing)} with other findings than Presidio's")
        for text in differing[:3]:
            print(f"         {text[:200]!r}")
    linear = all(growth < LINEAR for _, _, growth in figures.values())
    holds = unlike == 0 and linear and all(figures[kind][0] >= goal for kind, goal in GOALS.items())
    result = {
        "name": "free_text_throughput",
        "figure": {kind: round(times, 1) for kind, (times, _, _) in figures.items()},
        "goal": GOALS,
        "limit": {kind: round(gates, 1) for kind, (_, gates, _) in figures.items()},
        "holds": holds,
    }
    print(json.dumps(result))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
