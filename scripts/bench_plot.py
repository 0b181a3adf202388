"""The plot of scripts/bench: each targeted ratio as a bar, from the smallest to the largest as a line, the target as a mark."""

from html import escape

WIDTH, LABELS, ROW, TOP = 860, 390, 34, 64
GOOD, BAD, INK, FAINT = "#2a7f62", "#b5532a", "#222", "#999"


def plot(rows, subtitle):
    rows = [row for row in rows if "met" in row]
    height = TOP + ROW * len(rows) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        '<text x="16" y="26" font-size="16" font-weight="600">Shortline against its targets</text>',
        f'<text x="16" y="46" fill="{FAINT}">{escape(subtitle)}; bars: medians; lines: smallest to largest; marks: targets</text>',
    ]
    for number, row in enumerate(rows):
        parts += draw(row, TOP + ROW * number)
    parts.append(f'<text x="16" y="{height - 14}" fill="{FAINT}">Each bar on its own scale, its target at two thirds of the width; what is longer is cut off.</text>')
    return "\n".join([*parts, "</svg>\n"])


def draw(row, y):
    figures, target, space = row["ratio"], row["target"], WIDTH - LABELS - 90
    middle = y + ROW / 2

    def x(value):
        return LABELS + min(value / (target * 1.5), 1) * space

    colour = GOOD if row["met"] else BAD
    bound = f"{'at least' if row['sign'] == '>=' else 'at most'} {target}"
    return [
        f'<text x="{LABELS - 10}" y="{middle - 2}" text-anchor="end">{escape(row["work"])}</text>',
        f'<text x="{LABELS - 10}" y="{middle + 11}" text-anchor="end" font-size="10" fill="{FAINT}">{escape(row["against"])}</text>',
        f'<rect x="{LABELS}" y="{y + 8}" width="{x(figures["median"]) - LABELS:.1f}" height="{ROW - 16}" fill="{colour}"/>',
        f'<path d="M{x(figures["min"]):.1f} {middle}H{x(figures["max"]):.1f}" stroke="{INK}" stroke-width="1.5"/>',
        f'<path d="M{x(target):.1f} {y + 4}V{y + ROW - 4}" stroke="{INK}" stroke-width="2"/>',
        f'<text x="{WIDTH - 12}" y="{middle}" text-anchor="end" font-weight="600" fill="{colour}">{figures["median"]:.2f}</text>',
        f'<text x="{WIDTH - 12}" y="{middle + 12}" text-anchor="end" font-size="10" fill="{FAINT}">{bound}</text>',
    ]
