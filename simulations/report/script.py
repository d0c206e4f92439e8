"""What the page does when it is pointed at: one moment of the run, in figures."""

from __future__ import annotations

import json
from math import isfinite

from ..timeline import NodeSeries, Timeline

_MOMENTS = 240

SCRIPT = """
(() => {
const run = JSON.parse(document.getElementById("run").textContent);
const figure = document.querySelector("figure"), readout = figure.querySelector(".readout");
const slider = readout.querySelector("input"), output = readout.querySelector("output");
const drawings = [...figure.querySelectorAll(".course svg")];
if (!run.times.length) return;
const trim = (n, d) => String(+n.toFixed(d));
const time = s => s < 0.9995 ? Math.round(s * 1000) + " ms" : s < 120 ? trim(s, 1) + " s"
  : s < 7200 ? trim(s / 60, 1) + " min" : s < 172800 ? trim(s / 3600, 1) + " h"
  : trim(s / 86400, 1) + " d";
const crosses = drawings.map(svg => {
  const line = document.createElementNS(svg.namespaceURI, "line");
  line.setAttribute("class", "cross");
  line.setAttribute("y1", 56);
  line.setAttribute("y2", svg.viewBox.baseVal.height);
  svg.append(line);
  return line;
});
const put = (parent, tag, text) => {
  const made = parent.appendChild(document.createElement(tag));
  made.textContent = text;
  return made;
};
const show = number => {
  const at = run.times[number], on = ([, begins, ends]) => begins <= at && at < ends;
  figure.classList.add("reading");
  drawings.forEach((svg, n) => {
    const left = +svg.dataset.left, right = +svg.dataset.right;
    const x = left + (right - left) * Math.min(1, at / run.length);
    crosses[n].setAttribute("x1", x);
    crosses[n].setAttribute("x2", x);
  });
  output.replaceChildren();
  const head = put(output, "div", "");
  put(head, "b", time(at));
  const said = [...run.phases.filter(on), ...run.faults.filter(on)].map(one => one[0]);
  put(head, "span", said.length ? " \\u00b7 " + said.join(" \\u00b7 ") : "");
  const list = put(output, "ul", "");
  for (const node of run.nodes) {
    const item = put(list, "li", ""), lag = node.lag[number];
    put(item, "b", node.name);
    const up = node.up[number] === "1", late = lag === null ? "" : ` lag ${time(lag)},`;
    put(item, "span", up ? `${late} ${node.tentative[number]} tentative,`
      + ` ${node.missing[number]} missing` : " down");
  }
  slider.value = number;
  slider.setAttribute("aria-valuetext", time(at));
};
const near = at => {
  let low = 0, high = run.times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (run.times[middle] < at) low = middle + 1; else high = middle;
  }
  return low && at - run.times[low - 1] < run.times[low] - at ? low - 1 : low;
};
for (const svg of drawings) {
  const point = event => {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const left = +svg.dataset.left, right = +svg.dataset.right;
    const share = ((event.clientX - box.left) * scale - left) / (right - left);
    if (share >= 0 && share <= 1) show(near(share * run.length));
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
}
slider.max = run.times.length - 1;
slider.addEventListener("input", () => show(+slider.value));
readout.hidden = false;
})();
"""


def data(timeline: Timeline) -> str:
    """What the script needs to know, as JSON that can stand in a page."""
    count = len(timeline.times)
    picked = list(range(0, count, max(1, -(-count // _MOMENTS))))
    shown = {
        "length": _short(timeline.length),
        "phases": [[one.label, _short(one.begins), _short(one.ends)] for one in timeline.phases],
        "faults": [[one.label, _short(one.begins), _short(one.ends)] for one in timeline.faults],
        "times": [_short(timeline.times[number]) for number in picked],
        "nodes": [_node(name, series, picked) for name, series in timeline.nodes.items()],
    }
    text = json.dumps(shown, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def _node(name: str, series: NodeSeries, picked: list[int]) -> dict[str, object]:
    return {
        "name": name,
        "up": "".join("01"[series.up[number]] for number in picked),
        "lag": [_short(series.lag[number]) for number in picked],
        "tentative": [series.tentative[number] for number in picked],
        "missing": [series.missing[number] for number in picked],
    }


def _short(value: float) -> float | None:
    """Four digits are enough to read; what is not known is null."""
    return float(f"{value:.5g}") if isfinite(value) else None
