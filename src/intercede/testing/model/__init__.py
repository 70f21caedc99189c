"""What the kit speaks of, as data: clauses, calls, results, verdicts. No I/O and no asyncio."""
