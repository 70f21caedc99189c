"""The kit's terms as data: clauses, calls, results and verdicts. These modules do no I/O and use no asyncio."""
