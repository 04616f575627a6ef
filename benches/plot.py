"""The results as one picture (SVG): every figure beside the rival's, and how cost grows. Owner: benches."""

import html
import math
import re
import statistics

WIDTH, ROW, LEFT, RIGHT = 1000, 15, 400, 170
OURS, THEIRS, GREY, INK = "#0b6e4f", "#b3541e", "#cccccc", "#222222"
# `CPU s/GB at 1,000`
AT = re.compile(r"(.+) at ([\d,]+)$")
# Of these more is better.
MORE = ("/s", "during / beside")
# These say that both did the same work.
SAME = ("MB before", "MB after")


def median(values):
    values = [value for value in values or [] if value]
    return statistics.median(values) if values else None


def text(x, y, words, anchor="start", colour=INK, size=11):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">'
            f"{html.escape(words)}</text>")


def line(points, colour, width=2):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def compared(results, rows, this, against):
    """Row, figure and how many times better than the rival, for each figure that both have and that has no size."""
    for row in rows:
        sides = results.get(row, {})
        ours, theirs = sides.get(this, {}), sides.get(against, {})
        for figure in ours:
            mine, its = median(ours[figure]), median(theirs.get(figure))
            if mine and its and figure not in SAME and not AT.match(figure):
                yield row, figure, mine / its if figure.endswith(MORE) else its / mine


def ratios(results, rows, this, against, top):
    """A bar for each figure on a scale of powers of ten: to the right of the middle line is better than the rival."""
    found = list(compared(results, rows, this, against))
    if not found:
        return [], top
    most = max(1.0, *(abs(math.log10(times)) for *_, times in found))
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 3
    scale = (WIDTH - RIGHT - middle) / most
    low = LEFT - middle
    parts = [text(10, top, f"{this} beside {against}: times better (right of the line) or worse", size=14)]
    y = top + 10
    bottom = y + ROW * len(found)
    parts.append(line([(middle, y), (middle, bottom)], INK, 1))
    for row, figure, times in found:
        y += ROW
        length = max(low, min(math.log10(times), most) * scale)
        parts.append(text(LEFT - 8, y - 3, f"{row}: {figure}", "end"))
        parts.append(f'<rect x="{min(middle, middle + length):.1f}" y="{y - ROW + 3:.1f}" width="{abs(length):.1f}" '
                     f'height="{ROW - 5}" fill="{OURS if times >= 1 else THEIRS}"/>')
        parts.append(text(max(middle, middle + length) + 5, y - 3, f"× {times:.3g}"))
    return parts, bottom + 40


def series(results, side, row, figure):
    """Size and value of a figure that was taken at several sizes."""
    points = []
    for name, values in results.get(row, {}).get(side, {}).items():
        at = AT.match(name)
        if at and at[1] == figure and median(values):
            points.append((int(at[2].replace(",", "")), median(values)))
    return sorted(points)


def growing(results, rows):
    """Rows and figures that were taken at several sizes, in their order."""
    found = {}
    for row in rows:
        for figures in results.get(row, {}).values():
            for at in filter(None, map(AT.match, figures)):
                found[row, at[1]] = True
    return list(found)


def chart(row, figure, lines, left, top, width, height):
    """One figure over its sizes, both scales in powers of ten."""
    points = [point for _, _, some in lines for point in some]
    sizes = sorted({size for size, _ in points})
    low = math.floor(math.log10(min(value for _, value in points)))
    high = max(math.ceil(math.log10(max(value for _, value in points))), low + 1)

    def place(point):
        across = math.log10(point[0] / sizes[0]) / math.log10(sizes[-1] / sizes[0]) if len(sizes) > 1 else 0.5
        up = (math.log10(point[1]) - low) / (high - low)
        return left + across * width, top + height - up * height

    parts = [text(left, top - 8, f"{row}: {figure}", size=12)]
    for power in range(low, high + 1):
        y = top + height - (power - low) / (high - low) * height
        parts += [line([(left, y), (left + width, y)], GREY, 1), text(left - 5, y + 4, f"{10.0 ** power:g}", "end")]
    for size in sizes:
        parts.append(text(place((size, 10.0 ** low))[0], top + height + 15, f"{size:,}", "middle"))
    for name, colour, some in lines:
        if some:
            placed = [place(point) for point in some]
            parts += [line(placed, colour), text(placed[-1][0] + 5, placed[-1][1] + 4, name, colour=colour)]
    return parts


def charts(results, columns, top):
    parts, across, width, height = [], 3, 190, 110
    wanted = [(row, figure, sides) for rows, *sides in columns for row, figure in growing(results, rows)]
    if wanted:
        parts.append(text(10, top, "What it costs to have more of something", size=14))
        top += 45
    for number, (row, figure, sides) in enumerate(wanted):
        lines = [(side, colour, series(results, side, row, figure)) for side, colour in zip(sides, (OURS, THEIRS))]
        left = 60 + number % across * (WIDTH // across)
        parts += chart(row, figure, lines, left, top + number // across * 175, width, height)
    return parts, top + -(-len(wanted) // across) * 175


def svg(head, results, columns):
    about = head["machine"]
    words = f"{about['cpu']}, {about['cores']} cores; {'; '.join(head['versions'])}; {head['rounds']} rounds, medians"
    parts, y = [text(10, 20, words)], 50
    for rows, this, against in columns:
        more, y = ratios(results, rows, this, against, y)
        parts += more
    more, y = charts(results, columns, y)
    parts += more
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y:.0f}" font-family="sans-serif">\n'
            f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n")
