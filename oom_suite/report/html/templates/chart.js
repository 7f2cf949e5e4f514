"use strict";
(() => {
  const chart = JSON.parse(document.getElementById("chart-data").textContent);
  const box = document.getElementById("chart");
  if (!chart || !box) return;
  const readout = document.getElementById("readout");
  const SCALES = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10], ["B", 1]];
  const LABEL_PX = 15;
  let kind = "log";
  const hidden = new Set();
  const held = { curve: 0, point: -1 };

  // plotly reads tags and entities in any text; names come from outside.
  const plain = (text) =>
    text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const short = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
  const count = (number) => number.toLocaleString("en-US");
  const axisValue = (value) => (kind === "log" ? Math.log10(value) : value);

  function shortBytes(value) {
    const [unit, scale] = SCALES.find(([, size]) => value >= size) || ["B", 1];
    return `${Number((value / scale).toPrecision(6))} ${unit}`;
  }

  function wrapped(formula, width) {
    const lines = [""];
    for (const part of formula.split(/(?= [+-] )/)) {
      const last = lines.length - 1;
      if (lines[last] && (lines[last] + part).length > width) lines.push(part.trim());
      else lines[last] += part;
    }
    return lines;
  }

  function facts(curve, point) {
    const pool = `${count(chart.pools[point])} blocks`;
    const many = curve.formulas.length > 1;
    const formula = curve.formulas[curve.winners[point]];
    const over = chart.budgets.filter((b) => curve.peaks[point] > b.bytes).map((b) => b.name);
    return { pool, many, formula, over };
  }

  function hoverText(curve, point) {
    const width = box.clientWidth < 600 ? 36 : 64;
    const { pool, many, formula, over } = facts(curve, point);
    const lines = [short(curve.name, width), `${pool}: ${curve.texts[point]}`];
    if (many) lines.push(`formula ${curve.winners[point] + 1} of ${curve.formulas.length} wins:`);
    lines.push(...wrapped(formula, width));
    if (over.length) lines.push(short(`more than ${over.join(", ")}`, width));
    return lines.map(plain).join("<br>");
  }

  function spoken(curve, point) {
    const { pool, formula, over } = facts(curve, point);
    const more = over.length ? `, more than ${over.join(", ")}` : "";
    return `${curve.name} at ${pool}: ${curve.texts[point]} = ${formula}${more}`;
  }

  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function traces() {
    const here = new Set(chart.marks.map(([pool]) => chart.pools.indexOf(pool)));
    const drawn = chart.curves.map((curve, index) => {
      const changes = new Set(curve.changes);
      const paint = colour(curve.tone);
      const of = (mark, ring, none) =>
        chart.pools.map((_, i) => (here.has(i) ? mark : changes.has(i) ? ring : none));
      return {
        type: "scatter", mode: "lines+markers", name: plain(curve.name),
        x: chart.pools, y: curve.peaks, visible: !hidden.has(index), meta: index,
        line: { color: paint, width: curve.is_loud ? 5.5 : 2, dash: curve.dash },
        marker: {
          size: of(curve.is_loud ? 14 : 8, curve.is_loud ? 9 : 7, 0), opacity: 1,
          color: of(paint, colour("paper"), paint),
          line: { color: paint, width: of(0, 2, 0) },
        },
        text: chart.pools.map((_, i) => hoverText(curve, i)), hovertemplate: "%{text}<extra></extra>",
        hoverlabel: { bgcolor: colour("paper"), bordercolor: paint,
                      font: { color: colour("ink"), size: 12 }, align: "left" },
      };
    });
    // The wide line goes below: one that runs along it stays visible on top.
    return drawn.sort((a, b) => chart.curves[b.meta].is_loud - chart.curves[a.meta].is_loud);
  }

  function extent() {
    const peaks = chart.curves.flatMap((curve) => curve.peaks).filter((peak) => peak > 0);
    const devices = chart.budgets.map((budget) => budget.bytes);
    if (kind === "linear") {
      return { x: [0, chart.linear_top[0]], y: [0, chart.linear_top[1]] };
    }
    const highest = Math.max(...peaks, ...devices) * 2.4;
    const lowest = 2 ** Math.floor(Math.log2(Math.min(...peaks, ...devices)) - 1);
    const pools = [chart.pools[0], chart.pools[chart.pools.length - 1]];
    return { x: pools.map(Math.log10), y: [Math.log10(lowest), Math.log10(highest)] };
  }

  // Powers of two: plotly's own ticks are decimal.
  function byteTicks(range, most) {
    const [low, high] = kind === "log" ? range.map((r) => 10 ** r) : range;
    const values = [];
    const exponents = Math.log2(high / Math.max(low, 1e-9));
    if (kind === "log" && low > 0 && exponents >= 3) {
      const step = [1, 2, 5, 10, 20].find((s) => exponents / s <= most) || 20;
      const first = Math.ceil(Math.log2(low) / step) * step;
      for (let e = first; e <= Math.log2(high); e += step) values.push(2 ** e);
    } else {
      const step = 2 ** Math.ceil(Math.log2((high - low) / most));
      for (let v = Math.ceil(low / step) * step; v <= high; v += step) values.push(v);
    }
    const shown = values.filter((v) => v >= 0);
    return { tickvals: shown, ticktext: shown.map(shortBytes) };
  }

  function budgetLabels(range, height) {
    const [low, high] = range;
    const groups = [];
    for (const budget of chart.budgets) {
      const at = (axisValue(budget.bytes) - low) / (high - low);
      if (at < 0 || at > 0.995) continue;
      const last = groups[groups.length - 1];
      if (last && (at - last.at) * height < LABEL_PX && last.asked === budget.is_asked) {
        last.names.push(budget.name);
        last.at = at;
      } else groups.push({ at, names: [budget.name], asked: budget.is_asked });
    }
    return groups.map(({ at, names, asked }) => ({
      text: plain(names.map((name) => short(name, 24)).join(" · ") + (asked ? " (budget)" : "")),
      xref: "paper", x: 0.005, xanchor: "left", yref: "paper", y: at, yanchor: "bottom",
      showarrow: false, font: { size: 11, color: colour(asked ? "ink" : "soft") },
    }));
  }

  function markLabels(range) {
    const [low, high] = range;
    return chart.marks.map(([pool, axes], index) => {
      const at = (axisValue(pool) - low) / (high - low);
      return {
        text: plain(short(`${axes || chart.scenario}: ${count(pool)} blocks`, 44)), showarrow: false,
        xref: "paper", x: at, xanchor: at > 0.7 ? "right" : at < 0.3 ? "left" : "center",
        yref: "paper", y: 1, yanchor: "bottom", yshift: 14 * index, visible: at >= 0 && at <= 1,
        font: { size: 11, color: colour("soft") },
      };
    });
  }

  // With one loud curve there is room to say where its law changes.
  function ringLabels(ranges) {
    const loud = chart.curves.filter((curve, i) => curve.is_loud && !hidden.has(i));
    if (box.clientWidth < 600 || loud.length !== 1 || loud[0].changes.length > 3) return [];
    const [curve] = loud;
    return curve.changes.map((point) => ({
      text: plain(`from ${count(chart.pools[point])} blocks\nanother formula wins`).replace("\n", "<br>"),
      x: axisValue(chart.pools[point]), y: axisValue(curve.peaks[point]), xref: "x", yref: "y",
      ax: 0, ay: -46, arrowcolor: colour("soft"), arrowwidth: 1, arrowhead: 0, standoff: 7,
      font: { size: 11, color: colour("soft") },
    })).filter(({ x }) => kind === "log" && x >= ranges.x[0] && x <= ranges.x[1]);
  }

  function lines() {
    const budgets = chart.budgets.map((budget) => ({
      type: "line", xref: "paper", x0: 0, x1: 1, yref: "y", y0: budget.bytes, y1: budget.bytes,
      layer: "between", line: { color: colour(budget.is_asked ? "ink" : "soft"),
                              width: budget.is_asked ? 1.5 : 1, dash: budget.is_asked ? "solid" : "dot" },
    }));
    const marks = chart.marks.map(([pool]) => ({
      type: "line", yref: "paper", y0: 0, y1: 1, xref: "x", x0: pool, x1: pool, layer: "between",
      line: { color: colour("soft"), width: 1, dash: "dash" },
    }));
    return [...budgets, ...marks];
  }

  function dressing(ranges) {
    const height = Math.max(120, box.clientHeight - 80);
    return {
      ticks: byteTicks(ranges.y, height / 42),
      annotations: [
        ...budgetLabels(ranges.y, height), ...markLabels(ranges.x), ...ringLabels(ranges),
      ],
    };
  }

  function layout() {
    const ranges = extent();
    const { ticks, annotations } = dressing(ranges);
    const narrow = box.clientWidth < 600;
    const axis = { type: kind, gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false,
                   tickfont: { size: 12 }, fixedrange: matchMedia("(pointer: coarse)").matches };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      font: { family: "system-ui, sans-serif", color: colour("ink"), size: 13 },
      margin: { l: narrow ? 62 : 78, r: 12, t: 10 + 16 * chart.marks.length, b: 48 }, hovermode: "closest", hoverdistance: 30,
      dragmode: axis.fixedrange ? false : "zoom", shapes: lines(), annotations,
      xaxis: { ...axis, range: ranges.x, title: { text: plain(chart.axes.length > 1
        ? "blocks in each pool" : chart.axes[0]), font: { size: 12 } },
        tickformat: "~s", ...(kind === "log" ? { dtick: 1 } : { nticks: narrow ? 5 : 9 }) },
      yaxis: { ...axis, range: ranges.y, tickmode: "array", ...ticks },
    };
  }

  async function draw() {
    await Plotly.newPlot(box, traces(), layout(), {
      displaylogo: false, displayModeBar: false, responsive: true, typesetMath: false,
    });
    box.on("plotly_relayout", redress);
  }

  let dressed = false;
  function redress() {
    if (dressed) return;
    dressed = true;
    const full = box._fullLayout;
    const { ticks, annotations } = dressing({ x: full.xaxis.range, y: full.yaxis.range });
    Plotly.relayout(box, { "yaxis.tickvals": ticks.tickvals, "yaxis.ticktext": ticks.ticktext,
                           annotations }).finally(() => { dressed = false; });
  }

  function step(key) {
    const shown = chart.curves.map((_, i) => i).filter((i) => !hidden.has(i));
    if (!shown.length) return false;
    if (!shown.includes(held.curve)) held.curve = shown[0];
    if (held.point < 0) {
      held.point = chart.pools.indexOf(chart.marks[0][0]);
      const loud = shown.find((i) => chart.curves[i].is_loud);
      if (loud !== undefined) held.curve = loud;
    } else if (key === "ArrowLeft") held.point = Math.max(0, held.point - 1);
    else if (key === "ArrowRight") held.point = Math.min(chart.pools.length - 1, held.point + 1);
    else if (key === "ArrowUp" || key === "ArrowDown") {
      const by = key === "ArrowUp" ? -1 : 1;
      held.curve = shown[(shown.indexOf(held.curve) + by + shown.length) % shown.length];
    } else return false;
    const trace = box.data.findIndex((drawn) => drawn.meta === held.curve);
    Plotly.Fx.hover(box, [{ curveNumber: trace, pointNumber: held.point }]);
    readout.textContent = spoken(chart.curves[held.curve], held.point);
    return true;
  }

  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      Plotly.Fx.unhover(box);
      readout.textContent = "";
      held.point = -1;
    } else if (/^Arrow/.test(event.key) && step(event.key)) event.preventDefault();
  });
  for (const input of document.querySelectorAll('input[name="axes"]')) {
    input.addEventListener("change", () => { kind = input.value; draw(); });
    if (input.checked) kind = input.value; // a browser keeps the choice over a reload
  }
  for (const input of document.querySelectorAll("input[data-curve]")) {
    const index = Number(input.dataset.curve);
    const keep = () => (input.checked ? hidden.delete(index) : hidden.add(index));
    input.addEventListener("change", () => { keep(); draw(); });
    keep();
  }
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", draw);
  }
  draw();
})();
