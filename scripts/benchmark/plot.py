"""The plot of the ratios that have a target."""

from html import escape

WIDTH, LABELS, ROW, TOP = 860, 390, 34, 64
GOOD, BAD, INK, FAINT = "#2a7f62", "#b5532a", "#222", "#999"
FONT = 'font-family="system-ui, sans-serif"'
LEGEND = "bars: medians; lines: smallest to largest; marks: targets"
SCALE = (
    "Each bar has its own scale, with its target at two thirds of the width; longer bars are cut."
)


def plot(rows, subtitle):
    """An SVG image: the median as a bar, the range as a line, the target as a mark."""
    rows = [row for row in rows if "met" in row]
    height = TOP + ROW * len(rows) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT}'
        f' font-size="13" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(16, 26, "Shortline against its targets", 'font-size="16" font-weight="600"'),
        text(16, 46, f"{subtitle}; {LEGEND}", f'fill="{FAINT}"'),
    ]
    for number, row in enumerate(rows):
        parts += draw(row, TOP + ROW * number)
    parts.append(text(16, height - 14, SCALE, f'fill="{FAINT}"'))
    return "\n".join([*parts, "</svg>\n"])


def text(x, y, words, style):
    return f'<text x="{x}" y="{y}" {style}>{escape(words)}</text>'


def draw(row, y):
    figures, target = row["ratio"], row["target"]
    middle = y + ROW / 2

    def x(value):
        return LABELS + min(value / (target * 1.5), 1) * (WIDTH - LABELS - 90)

    colour = GOOD if row["met"] else BAD
    bound = f"{'at least' if row['sign'] == '>=' else 'at most'} {target}"
    least, median, most = (x(figures[name]) for name in ("min", "median", "max"))
    end, small = 'text-anchor="end"', f'text-anchor="end" font-size="10" fill="{FAINT}"'
    return [
        text(LABELS - 10, middle - 2, row["work"], end),
        text(LABELS - 10, middle + 11, row["against"], small),
        f'<rect x="{LABELS}" y="{y + 8}" width="{median - LABELS:.1f}" height="{ROW - 16}"'
        f' fill="{colour}"/>',
        f'<path d="M{least:.1f} {middle}H{most:.1f}" stroke="{INK}" stroke-width="1.5"/>',
        f'<path d="M{x(target):.1f} {y + 4}V{y + ROW - 4}" stroke="{INK}" stroke-width="2"/>',
        text(
            WIDTH - 12, middle, f"{figures['median']:.2f}",
            f'{end} font-weight="600" fill="{colour}"',
        ),
        text(WIDTH - 12, middle + 12, bound, small),
    ]
