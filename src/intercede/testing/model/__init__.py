"""The kit's terms as data: clauses, calls, results, verdicts. No I/O and no asyncio."""
