"""A bar chart of requests per second, on a logarithmic scale, as SVG text.

Invariant: the scale is the same in all panels and starts at a power of ten below the slowest server.
"""

import math
from html import escape

import report

LEFT, PLOT, RIGHT = 390, 520, 110
BAR, GAP, HEAD, FOOT = 18, 8, 40, 34
COLOURS = {report.GATEWAY: "#0b7285", report.REFERENCE: "#868e96", "bare": "#ced4da"}
PEER_COLOUR = "#e8a33d"
FONT = "font-family='system-ui, sans-serif' font-size='13'"


def draw(result):
    """The picture of a result: a panel for each batch size."""
    rows = result.summary()
    rates = [row["requests_per_second"] for row in rows] or [1]
    low, high = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))
    high = max(high, low + 1)
    parts, top = [], 0
    for batch in result.about["batches"]:
        panel = [row for row in rows if row["batch"] == batch]
        parts += draw_panel(result, batch, panel, top, low, high)
        top += HEAD + FOOT + len(panel) * (BAR + GAP)
    width = LEFT + PLOT + RIGHT
    size = f"viewBox='0 0 {width} {top}' width='{width}' height='{top}'"
    frame = f"<svg xmlns='http://www.w3.org/2000/svg' {size} {FONT}>"
    background = f"<rect width='{width}' height='{top}' fill='white'/>"
    return "\n".join([frame, background, *parts, "</svg>"]) + "\n"


def draw_panel(result, batch, rows, top, low, high):
    def x(rate):
        return LEFT + PLOT * (math.log10(rate) - low) / (high - low)

    bottom = top + HEAD + len(rows) * (BAR + GAP)
    title = f"Requests per second, batch {batch}, one processor, logarithmic scale"
    yield f"<text x='{LEFT}' y='{top + 24}' font-weight='bold'>{title}</text>"
    for power in range(low, high + 1):
        at = x(10**power)
        yield f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{top + HEAD - 6}' y2='{bottom}' stroke='#e9ecef'/>"
        yield f"<text x='{at:.1f}' y='{bottom + 16}' text-anchor='middle' fill='#495057'>{10**power:,}</text>"
    for i, row in enumerate(rows):
        y, rate, server = top + HEAD + i * (BAR + GAP), row["requests_per_second"], row["server"]
        weight = " font-weight='bold'" if server == report.GATEWAY else ""
        name = escape(result.names[server])
        colour = COLOURS.get(server, PEER_COLOUR)
        # A server at the very left of the scale still gets a bar that can be seen.
        length = max(x(rate) - LEFT, 2)
        yield f"<text x='{LEFT - 8}' y='{y + 14}' text-anchor='end'{weight}>{name}</text>"
        yield f"<rect x='{LEFT}' y='{y}' width='{length:.1f}' height='{BAR}' fill='{colour}'/>"
        yield f"<text x='{LEFT + length + 6:.1f}' y='{y + 14}'{weight}>{rate:,.0f}</text>"
