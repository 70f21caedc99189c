"""A chart of lines over two logarithmic axes, as SVG."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.sax.saxutils import escape

__all__ = ["Chart"]

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 216, 44, 40
LABEL = 15.0
"""The minimum distance between two labels."""
THOUSAND = 1000
COLOURS = ("#0b6e4f", "#d1495b", "#00798c", "#8f6fbf", "#edae49", "#5c5c5c", "#7a9e1e", "#30638e")


@dataclass(frozen=True)
class Chart:
    """A chart of several series of points, each with its name at its end."""

    title: str
    across: str
    up: str
    series: Mapping[str, Sequence[tuple[float, float]]]

    def svg(self) -> str:
        """Return the chart as SVG."""
        lines = "\n".join([*self._frame(), *self._drawn()])
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            f'font-size="12">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{lines}\n</svg>\n'
        )

    @property
    def _xs(self) -> list[float]:
        return sorted({x for points in self.series.values() for x, _ in points})

    @property
    def _decades(self) -> tuple[int, int]:
        ys = [y for points in self.series.values() for _, y in points]
        low, high = floor(log10(min(ys))), ceil(log10(max(ys)))
        return low, max(high, low + 1)

    def _x(self, x: float) -> float:
        low, high = log10(self._xs[0]), log10(self._xs[-1])
        return LEFT + (log10(x) - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def _y(self, y: float) -> float:
        low, high = self._decades
        return HEIGHT - BOTTOM - (log10(y) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def _frame(self) -> Iterator[str]:
        yield _text(LEFT, 22, self.title, 'font-size="15" font-weight="bold"')
        yield _text(WIDTH - RIGHT, HEIGHT - 6, self.across, 'text-anchor="end" fill="#555"')
        yield _text(6, TOP - 8, self.up, 'fill="#555"')
        for power in range(self._decades[0], self._decades[1] + 1):
            at = self._y(10**power)
            yield f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
            yield _text(LEFT - 8, at + 4, f"{10.0**power:g}", 'text-anchor="end"')
        for x in self._xs:
            yield _text(self._x(x), HEIGHT - BOTTOM + 16, _short(x), 'text-anchor="middle"')

    def _drawn(self) -> Iterator[str]:
        labels = self._labels()
        for colour, (name, points) in zip(COLOURS, self.series.items(), strict=False):
            path = "L".join(f"{self._x(x):.1f} {self._y(y):.1f}" for x, y in points)
            yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            yield from (
                f'<circle cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="3" fill="{colour}"/>' for x, y in points
            )
            yield _text(WIDTH - RIGHT + 12, labels[name] + 4, name, f'fill="{colour}"')

    def _labels(self) -> dict[str, float]:
        """Place each name near the end of its line, without overlaps."""
        wanted = sorted((self._y(points[-1][1]), name) for name, points in self.series.items())
        placed: dict[str, float] = {}
        lowest = float(TOP)
        for at, name in wanted:
            placed[name] = max(at, lowest)
            lowest = placed[name] + LABEL
        return placed


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _short(x: float) -> str:
    return f"{x:g}" if x < THOUSAND else f"{x / THOUSAND:g}k"
