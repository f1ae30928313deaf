// The live half of the page: asks the server once a second for the points that it does not have yet, keeps ten minutes of
// them, and shows them. Rates and the sentence on top are made by the server, so that page, terminal and JSON say the same.

import { Chart, big, mean } from "./charts.js";
import { Explorer } from "./explorer.js";
import { brief, clock, count, element, percent, put, seconds, size } from "./words.js";

const KEPT = 600;
const EVERY = 1000;
/** Seconds of which nothing is known that show as a hole. */
const HOLE = 2;
const find = (id) => document.getElementById(id);

const WAITS = [
  ["sync", "disk sync", "c1"],
  ["lock", "locks", "c2"],
  ["page_read", "page reads", "c4"],
  ["log_space", "log space", "c8"],
  ["throttle", "throttle", "c6"],
  ["clean_frame", "clean frames", "c5"],
  ["log_buffer", "log buffer", "c3"],
];
const CAUSES = ["timed", "paced", "forced", "manual", "shutdown"];

const checkpoints = (point) => CAUSES.reduce((sum, cause) => sum + point.checkpoints[cause], 0);
const latest = (value) => (points) => value(points.at(-1));

/** A round time on a scale. */
const tick = (v) => seconds(v).replace(/\.0 /, " ");

/** The bound of a recovery's time, where it is known. */
const targetWords = (point) => (point?.target_recovery ? `target ${tick(point.target_recovery)}` : "");

/** Which checkpoints there were in what is shown, in words. */
function checkpointWords(points) {
  const sums = CAUSES.map((cause) => [cause, points.reduce((sum, point) => sum + point.checkpoints[cause], 0)]);
  const all = sums.reduce((sum, [, n]) => sum + n, 0);
  if (all === 0) return "▼ no checkpoint yet in what is shown";
  const parts = sums.filter(([, n]) => n > 0).map(([cause, n]) => `${n} ${cause}`);
  return `▼ ${all} ${all === 1 ? "checkpoint" : "checkpoints"} shown: ${parts.join(", ")}`;
}

const GROUPS = [
  ["Commits", [
    {
      key: "commits", title: "Commits", what: "Transactions committed a second",
      series: [{ label: "commits/s", colour: "c1", area: true, value: (p) => p.commits }],
      format: count, axis: brief, now: (points) => big(count(mean(points, (p) => p.commits)), "a second"),
    },
    {
      key: "latency", title: "Commit latency", what: "From the call to its answer", log: true, band: true,
      series: [
        { label: "99 in 100 within", colour: "c2", value: (p) => p.commit_p99 },
        { label: "half within", colour: "c1", value: (p) => p.commit_p50 },
      ],
      format: seconds, axis: tick, now: (points) => big(seconds(mean(points, (p) => p.commit_p99)), "p99"),
    },
    {
      key: "shared", title: "Commits per sync", what: "Commits that one sync serves",
      series: [{ label: "commits per sync", colour: "c3", value: (p) => p.commits_per_sync }],
      format: count, axis: brief, now: (points) => big(count(mean(points, (p) => p.commits_per_sync))),
    },
    {
      key: "sync", title: "Sync latency", what: "How long the disk takes for each", log: true, band: true,
      series: [
        { label: "99 in 100 within", colour: "c2", value: (p) => p.sync_p99 },
        { label: "half within", colour: "c1", value: (p) => p.sync_p50 },
      ],
      format: seconds, axis: tick, now: (points) => big(seconds(mean(points, (p) => p.sync_p99)), "p99"),
    },
  ]],
  ["Waits", [
    {
      key: "waits", title: "Waiting callers, by cause", what: "How many stood still at a moment. For the disk's sync every durable commit waits; the rest is worth a look.",
      wide: true, stacked: true,
      series: WAITS.map(([cause, label, colour]) => ({ label, colour, value: (p) => p.waiting[cause] ?? 0 })),
      format: count, axis: brief,
      now: (points) => big(count(mean(points, (p) => Object.values(p.waiting).reduce((sum, n) => sum + n, 0))), "callers"),
    },
  ]],
  ["Log and recovery", [
    {
      key: "log", title: "Log written", what: "Bytes of log made a second", binary: true,
      series: [{ label: "log", colour: "c4", area: true, value: (p) => p.log_bytes }],
      format: (v) => `${size(v)}/s`, axis: size, now: (points) => big(size(mean(points, (p) => p.log_bytes)), "a second"),
    },
    {
      key: "age", title: "Checkpoint age", what: "Log a recovery would read, and its limit",
      most: (points) => (points.at(-1)?.max_wal_size ?? 0) * 1.04,
      ends: (points) => [0, 0.5, 1].map((part) => part * (points.at(-1)?.max_wal_size ?? 1)),
      series: [{ label: "age", colour: "c1", area: true, value: (p) => p.checkpoint_age }],
      limit: { label: "max_wal_size", value: (p) => p.max_wal_size },
      marks: (p) => (p.checkpoints.forced > 0 ? "bad" : checkpoints(p) > 0 ? "c3" : null),
      note: checkpointWords,
      format: size, axis: size,
      now: (points) => big(latest((p) => percent(p.checkpoint_age / Math.max(1, p.max_wal_size)))(points), "of the limit"),
    },
    {
      key: "recovery", title: "Recovery, if killed now", what: "How long the next open would take",
      series: [{ label: "recovery", colour: "c3", area: true, value: (p) => p.recovery }],
      format: seconds, axis: tick, note: (points) => targetWords(points.at(-1)), now: (points) => big(seconds(latest((p) => p.recovery)(points))),
    },
    {
      key: "segments", title: "Log segments on disk", what: "Files that hold log, and spare ones",
      series: [
        { label: "hold log", colour: "c7", steps: true, value: (p) => p.segments },
        { label: "with spare ones", colour: "c4", steps: true, value: (p) => (p.segments == null ? null : p.segments + p.spare) },
      ],
      format: count, axis: brief, now: (points) => big(count(latest((p) => p.segments)(points))),
    },
  ]],
  ["Pages", [
    {
      key: "dirty", title: "Dirty pages", what: "Changed in memory, not yet home",
      most: (points) => points.at(-1)?.frames ?? 0,
      series: [{ label: "dirty", colour: "c5", area: true, value: (p) => p.dirty }],
      format: count, axis: brief,
      now: (points) => big(latest((p) => percent(p.dirty / Math.max(1, p.frames)))(points), "of the pool"),
    },
    {
      key: "hits", title: "Buffer hit rate", what: "Pages found in memory", most: () => 1,
      series: [{ label: "hits", colour: "c1", value: (p) => p.hit_rate }],
      format: percent, axis: percent, now: (points) => big(percent(mean(points, (p) => p.hit_rate))),
    },
    {
      key: "pages", title: "Page traffic", what: "Pages to and from the disk",
      series: [
        { label: "written/s", colour: "c5", value: (p) => p.pages_written },
        { label: "read/s", colour: "c4", value: (p) => p.pages_read },
      ],
      format: count, axis: brief, now: (points) => big(count(mean(points, (p) => p.pages_written + p.pages_read)), "a second"),
    },
    {
      key: "versions", title: "Old versions of rows", what: "Memory kept for readers", binary: true,
      series: [{ label: "versions", colour: "c6", area: true, value: (p) => p.version_bytes }],
      format: size, axis: size,
      note: (points) => `snapshots ${count(points.at(-1)?.snapshots)}, writers ${count(points.at(-1)?.active)}`,
      now: (points) => big(size(latest((p) => p.version_bytes)(points))),
    },
  ]],
];

/** Who holds the log back, and what would better be set otherwise: two cards without a chart. */
class Lists {
  constructor() {
    this.holders = element("ol", { class: "list holders" });
    this.holdersNow = element("p", { class: "now" });
    this.advice = element("ul", { class: "list advice", tabindex: "0", role: "list", "aria-label": "Advice" }, element("li", { class: "none" }, "Looking …"));
    this.adviceNow = element("p", { class: "now" });
  }

  cards() {
    const card = (title, what, now, list) =>
      element("article", { class: "card", "aria-label": title }, element("div", { class: "head" }, element("h3", {}, title), now), element("p", { class: "what" }, what), list);
    return [
      card("Who holds the log", "The first one decides how much", this.holdersNow, this.holders),
      card("Advice", "What would suit this load better", this.adviceNow, this.advice),
    ];
  }

  showHolders(pins) {
    const most = Math.max(1, ...pins.map((pin) => pin.bytes));
    this.holdersNow.replaceChildren(...(pins.length > 0 ? big(size(pins[0].bytes)) : big("0 B")));
    if (pins.length === 0) return this.holders.replaceChildren(element("li", { class: "none" }, "Nobody holds the log back."));
    // What began a moment ago comes and goes; it holds nobody up, unless it is the first.
    const lasting = pins.filter((pin, index) => index === 0 || pin.holder !== "transaction" || pin.age_seconds >= 1);
    const shown = lasting.slice(0, 6).map((pin) => {
      const fill = element("div", { class: "fill" });
      fill.style.width = `${(pin.bytes / most) * 100}%`;
      const line = element("div", { class: "line" }, element("span", {}, holderWords(pin)), element("b", {}, size(pin.bytes)));
      return element("li", { class: pin.holder === "transaction" ? "transaction" : "" }, line, element("div", { class: "track", "aria-hidden": "true" }, fill));
    });
    if (lasting.length > shown.length) shown.push(element("li", { class: "none" }, `and ${lasting.length - shown.length} more`));
    this.holders.replaceChildren(...shown);
  }

  showAdvice(advice) {
    if (JSON.stringify(advice) === this.shown) return;
    this.shown = JSON.stringify(advice);
    this.adviceNow.replaceChildren(...big(String(advice.length), advice.length === 1 ? "thing" : "things"));
    if (advice.length === 0) return this.advice.replaceChildren(element("li", { class: "none" }, "Nothing to change."));
    this.advice.replaceChildren(...advice.map(adviceItem));
  }
}

function holderWords(pin) {
  if (pin.holder === "transaction") {
    const name = pin.label ? `Transaction “${pin.label}”` : "A transaction without a label";
    return `${name}, begun ${seconds(pin.age_seconds)} ago`;
  }
  if (pin.holder === "dirty page") return `Page ${pin.page}, dirty for longest`;
  if (pin.holder === "checkpoint") return "The last two checkpoints";
  return "Something this page does not know";
}

function adviceItem(one) {
  return element("li", {},
    element("p", { class: `title ${one.severity}` }, `${one.setting} `, element("small", {}, one.severity)),
    element("p", {}, one.evidence),
    element("p", { class: "change" }, element("span", { class: "mono" }, `${one.now} → ${one.proposed}`)),
    element("p", { class: "none" }, one.effect),
    element("p", { class: "none mono" }, one.link));
}

class Page {
  constructor() {
    this.points = [];
    this.next = 0;
    this.began = null;
    this.lists = new Lists();
    this.charts = [];
    this.failures = 0;
    this.told = 0;
    for (const [title, specs] of GROUPS) {
      const charts = specs.map((spec) => new Chart(spec));
      this.charts.push(...charts);
      const cards = charts.map((chart) => chart.card);
      if (title === "Waits") cards.push(...this.lists.cards());
      find("live").append(element("section", { class: "group" }, element("h2", {}, title), element("div", { class: "cards" }, ...cards)));
    }
    this.explorer = new Explorer(find("recovery"));
    this.controls();
  }

  controls() {
    // A browser may refuse to remember anything; then it is chosen anew each time.
    const remembered = (key, otherwise) => {
      try {
        return localStorage.getItem(key) ?? otherwise;
      } catch {
        return otherwise;
      }
    };
    const remember = (key, value) => {
      try {
        localStorage.setItem(key, value);
      } catch {
        // As above.
      }
    };
    const [span, theme, pause] = [find("span"), find("theme"), find("pause")];
    span.value = remembered("afterimage.span", "300");
    theme.value = remembered("afterimage.theme", "auto");
    span.addEventListener("change", () => {
      remember("afterimage.span", span.value);
      this.draw();
    });
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const colours = () => {
      const chosen = theme.value === "auto" ? (dark.matches ? "dark" : "light") : theme.value;
      document.documentElement.dataset.theme = chosen;
      for (const chart of this.charts) chart.redraw();
    };
    theme.addEventListener("change", () => {
      remember("afterimage.theme", theme.value);
      colours();
    });
    dark.addEventListener("change", colours);
    colours();
    pause.addEventListener("click", () => {
      this.paused = pause.getAttribute("aria-pressed") !== "true";
      pause.setAttribute("aria-pressed", String(this.paused));
      put(pause, this.paused ? "Go on" : "Pause");
      if (!this.paused) this.draw();
    });
    this.tabs();
  }

  tabs() {
    const tabs = ["live", "recovery"].map((name) => ({ name, tab: find(`tab-${name}`), panel: find(name) }));
    const show = (name, focus) => {
      for (const one of tabs) {
        const chosen = one.name === name;
        one.tab.setAttribute("aria-selected", String(chosen));
        one.tab.tabIndex = chosen ? 0 : -1;
        one.panel.hidden = !chosen;
        if (chosen && focus) one.tab.focus();
      }
      find("span").closest(".pick").hidden = name !== "live";
      find("pause").hidden = name !== "live";
      find("verdict").classList.toggle("small", name !== "live");
      if (name === "recovery") this.explorer.open();
      else this.draw();
    };
    for (const [index, one] of tabs.entries()) {
      one.tab.addEventListener("click", () => (location.hash = one.name));
      one.tab.addEventListener("keydown", (event) => {
        if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
        const other = tabs[(index + 1) % tabs.length];
        location.hash = other.name;
        other.tab.focus();
      });
    }
    const follow = () => show(location.hash.startsWith("#recovery") ? "recovery" : "live");
    addEventListener("hashchange", follow);
    follow();
  }

  async ask(path) {
    const response = await fetch(path, { signal: AbortSignal.timeout(4000) });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return response.json();
  }

  async look() {
    try {
      const answer = await this.ask(`api/stats?since=${this.next}`);
      if (this.began !== null && answer.server.began_micros !== this.began) {
        // Another server: its points begin anew, and where they do is marked.
        this.began = answer.server.began_micros;
        this.next = 0;
        this.reopened = true;
        return this.look();
      }
      this.began = answer.server.began_micros;
      this.failures = 0;
      this.take(answer);
    } catch (error) {
      this.failures += 1;
      this.lost ??= Date.now();
      if (this.failures > 1) this.silent(error);
    }
  }

  take(answer) {
    this.lost = null;
    document.body.classList.remove("stale");
    for (const point of answer.points) {
      // A clock that was put back: what was seen by the old one has no place beside this.
      if (point.at <= (this.points.at(-1)?.at ?? 0)) this.points = this.points.filter((one) => one.at < point.at);
      const last = this.points.at(-1)?.at;
      if (last !== undefined && (this.reopened || point.at - point.seconds - last > HOLE)) {
        // A hole between what was and what is, so that no line joins them.
        this.points.push({ ...empty(point), at: point.at - Math.min(0.5, (point.at - last) / 2), reopened: true });
      }
      this.reopened = false;
      this.points.push(point);
    }
    this.points.splice(0, this.points.length - KEPT);
    this.next = answer.next;
    this.answer = answer;
    // Advice is about hours, not seconds.
    if (answer.advice && Date.now() - (this.advised ?? 0) > 10_000) {
      this.advised = Date.now();
      this.lists.showAdvice(answer.advice);
    }
    this.where(answer);
    this.verdict(answer.verdict);
    if (!this.paused) this.draw();
  }

  where({ server, database }) {
    const name = database.directory.split("/").filter(Boolean).at(-1) ?? database.directory;
    const words = [name, database.pid && `process ${database.pid}`, database.state];
    put(find("where"), words.filter(Boolean).join(" · "));
    find("where").title = `${database.directory}, seen by ${database.source}`;
    document.title = `${name} · Afterimage`;
    put(find("version"), `Afterimage ${server.version}.`);
  }

  verdict({ level, about, headline, detail }) {
    find("verdict").dataset.level = level;
    put(find("headline"), headline);
    put(find("detail"), detail);
    // Read aloud when it is about something else than before, not whenever a number in it changes.
    if (about !== this.about) {
      this.about = about;
      put(find("announcer"), `${headline}. ${detail}`);
    }
  }

  /** The server does not answer: that is the news now. */
  silent(error) {
    document.body.classList.add("stale");
    const since = (Date.now() - this.lost) / 1000;
    const refused = /^401/.test(error.message);
    const headline = refused ? "The server asks for its token" : `The server has not answered for ${seconds(since)}`;
    const detail = refused
      ? "Open this page anew, with the token."
      : `What stands below is from ${clock(this.points.at(-1)?.at ?? this.lost / 1000)}. The process may have ended. Asking again every second.`;
    this.verdict({ level: "bad", about: refused ? "token" : "server", headline, detail });
    put(find("where"), "no answer");
  }

  draw() {
    if (!this.answer || find("live").hidden) return;
    const to = this.points.at(-1)?.at ?? Date.now() / 1000;
    const have = to - (this.points[0]?.at ?? to);
    const span = Math.min(Number(find("span").value), Math.max(60, Math.ceil(have / 30) * 30));
    for (const chart of this.charts) chart.show(this.points, to - span, to);
    this.lists.showHolders(this.answer.status?.pins ?? []);
    if (Date.now() - this.told > 10_000) {
      this.told = Date.now();
      for (const chart of this.charts) chart.summarize();
    }
  }

  async run() {
    for (;;) {
      const began = performance.now();
      await this.look();
      await new Promise((resolve) => setTimeout(resolve, Math.max(100, EVERY - (performance.now() - began))));
    }
  }
}

/** A point at which nothing is known. */
function empty(like) {
  const nothing = Object.fromEntries(Object.keys(like).map((key) => [key, null]));
  return { ...nothing, waiting: {}, checkpoints: Object.fromEntries(CAUSES.map((cause) => [cause, 0])), max_wal_size: like.max_wal_size, frames: like.frames };
}

new Page().run();
