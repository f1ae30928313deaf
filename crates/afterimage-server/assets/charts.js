// One card with a chart: its number of now, its lines, what the pointer or the arrow keys stand on, and the same as a table
// for who cannot or does not want to see it. Drawing is uPlot's; this file decides scales, colours and words.

import { clock, count, element, put } from "./words.js";

const uPlot = window.uPlot;
const cursors = uPlot.sync("afterimage");
let serial = 0;

/** The smallest round number that holds v: 1, 2 or 5 times a power of ten, or a power of two of a binary unit. */
function round(v, binary) {
  if (!(v > 0)) return 1;
  if (binary) return 2 ** Math.ceil(Math.log2(Math.max(v, 1024)) - 1e-9);
  const power = 10 ** Math.floor(Math.log10(v) + 1e-9);
  const step = [1, 2, 5, 10].find((n) => n * power >= v * (1 - 1e-9));
  return step * power;
}

/** The powers of ten from one to the other. */
function decades(least, most) {
  const found = [];
  for (let power = Math.round(Math.log10(least)); power <= Math.round(Math.log10(most)); power += 1) found.push(10 ** power);
  return found;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/**
 * A card. `spec` says: title, what (a sentence), series of {label, colour, value(point), area}, format and axis for numbers,
 * and as it needs: wide, log, binary, stacked, most(points) for a fixed upper end, limit {label, value(point)},
 * marks(point) for a mark at the top, now(latest points) for the big number.
 */
export class Chart {
  constructor(spec) {
    this.spec = spec;
    this.top = 0;
    this.points = [];
    this.id = `chart-${(serial += 1)}`;
    this.now = element("p", { class: "now" });
    this.legend = element("div", { class: "legend" });
    this.table = element("div", { class: "tablebox" });
    this.place = element("div", {
      class: "chart",
      role: "img",
      tabindex: "0",
      "aria-labelledby": `${this.id}-summary`,
      onkeydown: (event) => this.key(event),
      onblur: () => this.point(null),
    });
    this.summary = element("p", { class: "unseen", id: `${this.id}-summary` }, spec.title);
    this.details = element(
      "details",
      { ontoggle: () => this.tabulate() },
      element("summary", {}, "As a table", element("span", { class: "unseen" }, `: ${spec.title}`)),
      this.table,
    );
    this.card = element(
      "article",
      { class: spec.wide ? "card wide" : "card", "aria-labelledby": `${this.id}-title`, "data-chart": spec.key },
      element("div", { class: "head" }, element("h3", { id: `${this.id}-title` }, spec.title), this.now),
      element("p", { class: "what" }, spec.what),
      this.place,
      this.summary,
      this.legend,
      this.details,
    );
    this.keys = spec.series.map((series) => {
      const swatch = element("span", { class: series.area || spec.stacked ? "swatch" : "swatch line" });
      swatch.style.background = `var(--${series.colour})`;
      const value = element("b");
      const key = element("span", { class: "key" }, swatch, series.label, value);
      this.legend.append(key);
      return { key, value };
    });
    this.note = element("span", { class: "key" });
    this.legend.append(this.note);
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(this.place);
  }

  /** Draws anew from nothing: in new colours. */
  redraw() {
    this.plot?.destroy();
    this.plot = null;
    this.draw();
  }

  resize() {
    const width = Math.floor(this.place.clientWidth);
    if (width < 40) return;
    if (this.plot) this.plot.setSize({ width, height: this.place.clientHeight });
    else this.draw();
  }

  /** New points; the chart shows from `from` to `to`, in seconds since 1970. */
  show(points, from, to) {
    this.points = points;
    this.from = from;
    this.to = to;
    if (this.plot) this.plot.setData(this.data());
    else this.draw();
    this.tell();
    if (this.details.open) this.tabulate();
  }

  /** The numbers beside the lines: of the point under the cursor, else the latest. */
  tell() {
    const { spec, points } = this;
    const index = this.plot?.cursor.idx;
    const pointed = index != null && points[index] != null;
    const point = pointed ? points[index] : points.at(-1);
    if (!point) return;
    put(this.now, "");
    this.now.replaceChildren(...spec.now(pointed ? [point] : points.slice(-3)));
    spec.series.forEach((series, at) => {
      const value = series.value(point);
      put(this.keys[at].value, spec.format(value));
      this.keys[at].key.classList.toggle("none", !value);
    });
    const seen = points.filter((one) => one.at >= this.from);
    put(this.note, pointed ? `at ${clock(point.at)}` : (spec.note?.(seen) ?? ""));
  }

  /** What a screen reader says of it: now, and the range. Told anew now and then, not each second. */
  summarize() {
    const { spec } = this;
    const seen = this.points.filter((one) => one.at >= this.from);
    const parts = spec.series.map((series) => {
      const values = seen.map(series.value).filter((value) => value != null);
      if (values.length === 0) return `${series.label}: nothing yet`;
      const [least, most] = [Math.min(...values), Math.max(...values)];
      return `${series.label}: now ${spec.format(values.at(-1))}, between ${spec.format(least)} and ${spec.format(most)}`;
    });
    put(this.summary, `${spec.title}, chart. ${parts.join(". ")}. The table below has the numbers.`);
  }

  tabulate() {
    if (!this.details.open) return;
    const { spec } = this;
    const seen = this.points.filter((one) => one.at >= this.from);
    // A dozen rows over the time shown, the latest first.
    const step = Math.max(1, Math.floor(seen.length / 12));
    const rows = [];
    for (let at = seen.length - 1; at >= 0 && rows.length < 12; at -= step) rows.push(seen[at]);
    const head = element("tr", {}, element("th", { scope: "col" }, "Time"));
    spec.series.forEach((series) => head.append(element("th", { scope: "col" }, series.label)));
    const body = element("tbody");
    for (const point of rows) {
      const row = element("tr", {}, element("th", { scope: "row" }, clock(point.at)));
      spec.series.forEach((series) => row.append(element("td", {}, spec.format(series.value(point)))));
      body.append(row);
    }
    this.table.replaceChildren(
      element("table", {}, element("caption", { class: "unseen" }, spec.title), element("thead", {}, head), body),
    );
  }

  key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    if (!this.plot || this.points.length === 0) return;
    if (event.key === "Escape") return this.point(null);
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const last = this.points.length - 1;
    const first = Math.max(0, this.points.findIndex((one) => one.at >= this.from));
    const index = Math.min(last, Math.max(first, (this.plot.cursor.idx ?? last) + step));
    this.point(index);
  }

  point(index) {
    if (!this.plot) return;
    const left = index == null ? -10 : this.plot.valToPos(this.points[index].at, "x");
    // Told to the other charts too.
    this.plot.setCursor({ left, top: index == null ? -10 : this.plot.bbox.height / devicePixelRatio / 2 }, true, true);
  }

  data() {
    const { spec, points } = this;
    const times = points.map((point) => point.at);
    const values = spec.series.map((series) => points.map((point) => series.value(point) ?? null));
    if (spec.stacked) {
      // Each line is the sum of its own and all below it; the colour between two lines is the upper one's.
      for (let at = values.length - 2; at >= 0; at -= 1) {
        values[at] = values[at].map((value, index) => (value ?? 0) + (values[at + 1][index] ?? 0));
      }
    }
    if (spec.limit) values.push(points.map((point) => spec.limit.value(point) ?? null));
    return [times, ...values];
  }

  /** The upper end: grows at once, shrinks only when half of it has become air; so it does not jump about. */
  range(plot, least, most) {
    const { spec } = this;
    if (spec.most) return [0, spec.most(this.points) || 1];
    if (spec.log) {
      const low = 10 ** Math.floor(Math.log10(least > 0 ? least : 1e-4));
      const high = 10 ** Math.ceil(Math.log10(most > 0 ? most : 1e-2) + 1e-9);
      return [Math.min(low, high / 100), high];
    }
    const wanted = round((most ?? 0) * 1.05, spec.binary);
    if (wanted > this.top || wanted < this.top / 2) this.top = wanted;
    return [0, this.top];
  }

  draw() {
    const width = Math.floor(this.place.clientWidth);
    if (width < 40 || this.points.length === 0) return;
    const { spec } = this;
    const [soft, grid] = [colour("soft"), colour("grid")];
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const line = (series) => {
      const stroke = colour(series.colour);
      const last = series === spec.series.at(-1);
      const fill = spec.stacked ? (last ? `${stroke}80` : undefined) : series.area ? `${stroke}2e` : undefined;
      return { stroke, fill, width: spec.stacked ? 1 : 1.75, points: { show: false }, spanGaps: false, paths: series.steps ? uPlot.paths.stepped({ align: -1 }) : undefined };
    };
    const series = [{}, ...spec.series.map(line)];
    if (spec.limit) series.push({ stroke: colour("bad"), width: 1.25, dash: [5, 4], points: { show: false } });
    const options = {
      width,
      height: this.place.clientHeight,
      padding: [10, 8, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: cursors.key, setSeries: false, scales: ["x", null] }, y: false, drag: { x: false, y: false, setScale: false }, points: { size: 7 } },
      scales: {
        x: { time: false, range: () => [this.from, this.to] },
        y: { distr: spec.log ? 3 : 1, range: (plot, least, most) => this.range(plot, least, most) },
      },
      axes: [
        {
          stroke: soft, font, size: 24, gap: 4, grid: { show: false }, ticks: { show: false },
          splits: () => this.times(width),
          values: (plot, splits) => splits.map((at) => clock(at, this.to - this.from < 200)),
        },
        {
          stroke: soft, font, size: 58, gap: 6, space: 16, ticks: { show: false }, grid: { stroke: grid, width: 1 },
          splits: (plot, axis, least, most) => (spec.log ? decades(least, most) : spec.ends ? spec.ends(this.points) : [0, most / 2, most]),
          values: (plot, splits) => splits.map((v) => (v == null ? "" : spec.axis(v))),
        },
      ],
      series,
      bands: spec.stacked
        ? spec.series.slice(0, -1).map((one, at) => ({ series: [at + 1, at + 2], fill: `${colour(one.colour)}80` }))
        : spec.band ? [{ series: [1, 2], fill: `${colour(spec.series[0].colour)}1f` }] : [],
      hooks: { setCursor: [() => this.tell()], draw: [(plot) => this.mark(plot)] },
    };
    this.plot = new uPlot(options, this.data(), this.place);
    this.plot.root.setAttribute("aria-hidden", "true");
  }

  /** Whole minutes, or parts of one, as many as have room. */
  times(width) {
    const span = this.to - this.from;
    const step = [10, 15, 30, 60, 120, 300].find((step) => (span / step) * 74 < width - 60) ?? 300;
    const splits = [];
    // A label that would be cut off at either end is left out.
    const margin = ((this.to - this.from) * 26) / (width - 70);
    for (let at = Math.ceil(this.from / step) * step; at <= this.to - margin; at += step) {
      if (at >= this.from + margin / 2) splits.push(at);
    }
    return splits;
  }

  /** What happened at a moment: a thin line, and a tip on top. */
  mark(plot) {
    const { spec } = this;
    const context = plot.ctx;
    const { left, top, height } = plot.bbox;
    const at = (x) => Math.round(plot.valToPos(x, "x", true)) + 0.5;
    context.save();
    context.lineWidth = devicePixelRatio;
    for (const point of this.points) {
      if (point.at < this.from) continue;
      const marked = spec.marks?.(point);
      if (marked) {
        const x = at(point.at);
        context.strokeStyle = context.fillStyle = colour(marked);
        context.globalAlpha = 0.45;
        context.beginPath();
        context.moveTo(x, top);
        context.lineTo(x, top + height);
        context.stroke();
        context.globalAlpha = 1;
        const tip = 4 * devicePixelRatio;
        context.beginPath();
        context.moveTo(x - tip, top - tip);
        context.lineTo(x + tip, top - tip);
        context.lineTo(x, top + tip * 0.8);
        context.fill();
      }
      if (point.reopened) {
        const x = Math.max(at(point.at), left);
        context.strokeStyle = colour("c8");
        context.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
        context.beginPath();
        context.moveTo(x, top);
        context.lineTo(x, top + height);
        context.stroke();
        context.setLineDash([]);
      }
    }
    context.restore();
  }
}

/** The mean of a value over points that have one. */
export function mean(points, value) {
  const values = points.map(value).filter((one) => one != null);
  return values.length === 0 ? null : values.reduce((sum, one) => sum + one, 0) / values.length;
}

/** A big number with its unit set small. */
export function big(text, unit = "") {
  const [, number, own] = /^([^\s]+)\s?(.*)$/.exec(text) ?? [null, text, ""];
  return [number, element("small", {}, ` ${[own, unit].filter(Boolean).join(" ")}`)];
}

export { count };
