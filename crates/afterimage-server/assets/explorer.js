// The recovery half of the page: a crash, and what the engine did about it, one step at a time, forward and back. The steps
// are the engine's own, told by /api/explain; here they are only shown.

import { element, put } from "./words.js";

const COLOURS = ["c1", "c2", "c3", "c4", "c5", "c6"];
const PHASES = { log: "The crash", analysis: "Analysis", tables: "Tables", "make safe": "Make safe", redo: "Redo", undo: "Undo", end: "Done", crash: "Crash again", refused: "Refused", result: "Result" };
const WHAT = {
  log: "This is what the crash left: the log, and the pages on the disk. What was only in memory is gone.",
  analysis: "Reads the log once: who was unfinished, and which pages may be old on the disk?",
  tables: "What analysis has found: who has to be taken back, and where redo begins.",
  "make safe": "Torn pages get their copy back before anything is built on them.",
  redo: "Repeats history, for every transaction, wherever a page is older than the record.",
  undo: "Takes back what unfinished transactions did, newest first. Each step is logged in a record of its own (a CLR), so that it is never done twice.",
  end: "The database is open.",
};
const EVERY = 1500;

/** A story's steps in one row: the crash, all recoveries with what came between them, the result. */
function timeline(story) {
  const all = [];
  const first = story.recoveries[0];
  const empty = { active: [], dirty: [], pages: [] };
  all.push({ phase: "log", lsn: "", what: "the power went", text: story.log.length > 0 ? WHAT.log : "What was only in memory is gone. This is what the next open did.", before: first?.before ?? empty, after: first?.steps[0]?.before ?? empty, recovery: 0, run: 0 });
  let run = 1;
  for (const [index, recovery] of story.recoveries.entries()) {
    let phase = "";
    for (const step of recovery.steps) {
      if (step.phase !== phase) run += 1;
      phase = step.phase;
      all.push({ ...step, recovery: index, run });
    }
    const after = recovery.steps.at(-1)?.after ?? empty;
    run += 1;
    if (recovery.outcome === "crashed") {
      const written = recovery.written.length > 0 ? recovery.written.join(", ") : "no CLR yet";
      all.push({ phase: "crash", lsn: "", what: "the power goes again", text: `In the middle of it the power goes again. On the disk by then: ${written}. The next recovery begins from the start, and finds them.`, before: after, after: { ...empty, pages: story.recoveries[index + 1]?.steps[0]?.before.pages ?? [] }, recovery: index, run });
    } else if (recovery.outcome.startsWith("refused")) {
      all.push({ phase: "refused", lsn: "", what: "the engine does not open it", text: `${recovery.outcome.replace(/^refused:?\s*/, "")}. Nothing has been changed.`, before: after, after, recovery: index, run });
    }
  }
  const last = all.at(-1);
  if (last.phase !== "refused") {
    const summary = story.recoveries.at(-1)?.summary ?? [];
    all.push({ phase: "result", lsn: "", what: "", text: story.log.length === 0 ? story.result : story.result ? `In the database now: ${story.result}` : "Open again.", summary, before: last.after, after: last.after ?? null, recovery: story.recoveries.length - 1, run: run + 1 });
  }
  return all;
}

/** The records that there are at each step: those of the log, and those that recovery has written by then. */
function records(story, steps) {
  const names = [...new Set(steps.map((step) => step.transaction).filter(Boolean))];
  const of = (text) => names.find((name) => text.startsWith(`${name} `));
  const found = story.log.map((one) => ({ lsn: one.lsn, text: one.text, note: one.remark, transaction: of(one.text), from: 0, to: Infinity }));
  const known = new Set(found.map((one) => one.lsn));
  for (const [index, step] of steps.entries()) {
    const add = (lsn, text) => {
      if (!lsn || known.has(lsn)) return;
      known.add(lsn);
      found.push({ lsn, text, note: "written by recovery", transaction: step.transaction ?? of(text), from: index, to: Infinity, fresh: true });
    };
    if (step.clr) {
      const told = new RegExp(`CLR ${step.clr} \\(([^)]*)\\)`).exec(step.text)?.[1];
      add(step.clr, `${step.transaction ?? ""} CLR ${told ?? ""}`.trim());
    } else if (step.phase === "undo" || step.phase === "end") add(step.lsn, step.what);
    if (step.phase === "crash") {
      // What the next recovery does not meet again was not on the disk.
      const met = new Set(steps.filter((one) => one.recovery === step.recovery + 1).map((one) => one.lsn));
      for (const one of found.filter((one) => one.fresh && one.from <= index && !met.has(one.lsn))) {
        one.to = index;
        known.delete(one.lsn);
      }
    }
  }
  return { found, names };
}

export class Explorer {
  constructor(place) {
    this.place = place;
    this.at = 0;
    this.steps = [];
  }

  /** The tab was chosen: the list is asked for once. */
  async open() {
    if (this.list) return this.follow();
    if (this.opening) return;
    this.opening = true;
    this.place.replaceChildren(element("p", { class: "none group" }, "Looking …"));
    try {
      const answer = await fetch("api/explain", { signal: AbortSignal.timeout(10_000) });
      if (!answer.ok) throw new Error(await answer.text());
      this.list = await answer.json();
      this.build();
      this.follow();
    } catch (error) {
      const again = element("button", { type: "button", class: "plain", onclick: () => this.open() }, "Try again");
      this.place.replaceChildren(element("p", { class: "group" }, `The stories cannot be had: ${error.message} `), again);
    } finally {
      this.opening = false;
    }
  }

  build() {
    const stories = [];
    stories.push({ name: "last", title: "The last recovery of this database" });
    stories.push(...this.list.scenarios);
    this.stories = stories;
    this.buttons = new Map();
    const items = stories.map((story) => {
      const button = element("button", { type: "button", onclick: () => this.choose(story.name) }, story.title.split(": ")[0]);
      this.buttons.set(story.name, button);
      return element("li", {}, button);
    });
    this.pick = element("select", { onchange: () => this.choose(this.pick.value) }, ...stories.map((story) => element("option", { value: story.name }, story.title.split(": ")[0])));
    this.again = element("select", { onchange: () => this.choose(this.name) });
    for (const [value, text] of [["", "does not crash again"], ["1", "crashes after 1 CLR"], ["2", "crashes after 2 CLRs"], ["3", "crashes after 3 CLRs"]]) {
      this.again.append(element("option", { value }, text));
    }
    const button = (label, go) => element("button", { type: "button", class: "plain", onclick: go }, label);
    this.first = button("First", () => this.go(0));
    this.back = button("◀ Back", () => this.go(this.at - 1));
    this.forth = button("Next ▶", () => this.go(this.at + 1));
    this.last = button("Last", () => this.go(this.steps.length - 1));
    this.play = element("button", { type: "button", class: "plain", "aria-pressed": "false", onclick: () => this.playing(!this.timer) }, "Play");
    this.slider = element("input", { type: "range", min: "0", value: "0", "aria-label": "Step", oninput: () => this.go(Number(this.slider.value)) });
    this.where = element("p", { class: "where-at" });
    this.title = element("h2", { class: "story-title" });
    this.lead = element("p", { class: "lead" });
    this.runs = element("ol", { class: "runs", "aria-label": "Phases" });
    this.record = element("p", { class: "record mono" });
    this.said = element("p", { class: "said" });
    this.more = element("p", { class: "more" });
    this.strip = element("ol", { class: "strip", tabindex: "0", role: "list", "aria-label": "The log, oldest record first" });
    this.active = element("tbody");
    this.dirty = element("tbody");
    this.pages = element("ul", { class: "pages" });
    const table = (title, what, columns, body) =>
      element("section", { class: "card", "aria-label": title }, element("h3", {}, title), element("p", { class: "what" }, what),
        element("div", { class: "tablebox" }, element("table", {}, element("caption", { class: "unseen" }, title), element("thead", {}, element("tr", {}, ...columns.map((column) => element("th", { scope: "col" }, column)))), body)));
    const main = element("div", { class: "story" },
      element("div", { class: "story-head" }, this.title, this.lead),
      element("div", { class: "card stepper" },
        this.runs,
        element("div", { class: "said-box", role: "status", "aria-live": "polite" }, this.record, this.said, this.more),
        element("div", { class: "steps" }, this.first, this.back, this.forth, this.last, this.play, this.where),
        this.slider),
      element("section", { class: "card log-card", "aria-label": "The log" }, element("h3", {}, "The log"), element("p", { class: "what" }, "Oldest record first; its number is its LSN. What recovery writes comes at the end."), this.strip),
      element("div", { class: "tables" },
        table("Unfinished transactions", "Whoever is in it when redo ends is a loser", ["Transaction", "Last LSN", "Undo next"], this.active),
        table("Dirty pages", "Changes from recLSN on may be missing on the disk", ["Page", "recLSN"], this.dirty),
        element("section", { class: "card", "aria-label": "Pages" }, element("h3", {}, "Pages"), element("p", { class: "what" }, "What they hold, and the LSN of the last change in it"), this.pages)));
    this.again.id = "again";
    this.pick.id = "pick";
    const side = element("nav", { class: "side", "aria-label": "Stories" },
      element("label", { class: "phone", for: "pick" }, "Story"), this.pick,
      element("ul", { class: "stories" }, ...items),
      element("div", { class: "again" }, element("label", { for: "again" }, "While it undoes, the machine "), this.again),
      element("p", { class: "hint" }, "Arrow keys step; Home and End go to either end."));
    this.place.replaceChildren(element("div", { class: "explorer" }, side, main));
    this.strip.addEventListener("keydown", (event) => event.stopPropagation());
    document.addEventListener("keydown", (event) => this.key(event));
  }

  /** Goes where the address says: #recovery/NAME/STEP. */
  follow() {
    const [, name, step] = location.hash.split("/");
    const wanted = this.stories.some((story) => story.name === name) ? name : this.name ?? this.list.scenarios[0]?.name;
    if (wanted === undefined) return;
    if (wanted !== this.name) this.choose(wanted, Number(step) || 0);
    else if (step !== undefined) this.go(Number(step) || 0);
  }

  async choose(name, at = 0) {
    this.playing(false);
    this.name = name;
    const asked = (this.asked = {});
    this.pick.value = name;
    for (const [one, button] of this.buttons) button.setAttribute("aria-current", String(one === name));
    const query = this.again.value && name !== "last" ? `?crash_after=${this.again.value}` : "";
    try {
      const answer = await fetch(`api/explain/${name}${query}`, { signal: AbortSignal.timeout(20_000) });
      if (!answer.ok) throw new Error(await answer.text());
      const story = await answer.json();
      if (this.asked !== asked) return;
      this.tell(story, at);
    } catch (error) {
      if (this.asked === asked) put(this.said, `This story cannot be had: ${error.message}`);
    }
  }

  tell(story, at) {
    this.steps = timeline(story);
    const { found, names } = records(story, this.steps);
    this.records = found;
    this.names = names;
    const [title, ...lead] = (story.title || this.name).split(": ");
    put(this.title, title);
    const rest = lead.join(": ");
    put(this.lead, rest ? rest[0].toUpperCase() + rest.slice(1) + (/[.!?]$/.test(rest) ? "" : ".") : "");
    this.slider.max = String(this.steps.length - 1);
    this.chips = found.map((one) => {
      const tag = element("span", { class: "tag" });
      const chip = element("li", {}, element("span", { class: "lsn mono" }, one.lsn), element("span", { class: "text" }, arrows(one.text)), one.note ? element("span", { class: "note" }, one.note) : null, tag);
      chip.style.setProperty("--own", one.transaction ? `var(--${COLOURS[names.indexOf(one.transaction) % COLOURS.length]})` : "var(--soft)");
      return { chip, tag };
    });
    this.strip.replaceChildren(...this.chips.map(({ chip }) => chip));
    // A report has no records and no pages: what would be empty all the time is not there.
    const told = story.log.length > 0;
    for (const part of this.place.querySelectorAll(".log-card, .tables")) part.hidden = !told;
    const runs = [];
    for (const [index, step] of this.steps.entries()) {
      const last = runs.at(-1);
      if (last && last.run === step.run) last.to = index;
      else runs.push({ run: step.run, phase: step.phase, from: index, to: index, recovery: step.recovery });
    }
    const many = story.recoveries.length > 1;
    this.runList = runs.map((run) => {
      const label = PHASES[run.phase] ?? run.phase;
      const name = many && ["analysis", "redo", "undo"].includes(run.phase) ? `${label} ${run.recovery + 1}` : label;
      const button = element("button", { type: "button", onclick: () => this.go(run.from) }, name);
      return { ...run, button };
    });
    this.runs.replaceChildren(...this.runList.map(({ button }) => element("li", {}, button)));
    this.go(Math.min(at, this.steps.length - 1), true);
  }

  go(to, anyway = false) {
    const at = Math.max(0, Math.min(this.steps.length - 1, to));
    if (this.steps.length === 0 || (at === this.at && !anyway)) return;
    this.at = at;
    const step = this.steps[at];
    this.slider.value = String(at);
    this.slider.setAttribute("aria-valuetext", `${at + 1} of ${this.steps.length}, ${PHASES[step.phase] ?? step.phase}`);
    this.first.disabled = this.back.disabled = at === 0;
    this.last.disabled = this.forth.disabled = at === this.steps.length - 1;
    put(this.where, `Step ${at + 1} of ${this.steps.length}`);
    put(this.record, [step.lsn && `LSN ${step.lsn}`, arrows(step.what)].filter(Boolean).join("   "));
    put(this.said, sentence(step.text));
    put(this.more, step.summary ? step.summary.join(" · ") : step.phase === "log" ? "" : WHAT[step.phase] ?? "");
    for (const run of this.runList) {
      run.button.setAttribute("aria-current", run.from <= at && at <= run.to ? "step" : "false");
      run.button.classList.toggle("past", run.to < at);
    }
    this.showRecords(step);
    this.showTables(step);
    if (!this.place.hidden) history.replaceState(null, "", `#recovery/${this.name}/${at}`);
    if (at === this.steps.length - 1) this.playing(false);
  }

  showRecords(step) {
    const done = this.steps.slice(0, this.at + 1).filter((one) => one.recovery === step.recovery || one.phase === "log");
    let shown = null;
    for (const [index, one] of this.records.entries()) {
      const { chip, tag } = this.chips[index];
      const there = one.from <= this.at && this.at <= one.to;
      chip.hidden = !there;
      if (!there) continue;
      const of = done.filter((past) => past.lsn === one.lsn);
      const undone = of.find((past) => past.phase === "undo");
      const redone = of.findLast((past) => past.phase === "redo");
      const read = of.some((past) => past.phase === "analysis");
      const word = undone && undone.clr ? "taken back" : redone ? (redone.decision === "applied" ? "redone" : redone.decision ?? "there") : one.fresh && one.from > 0 && done.some((past) => past === this.steps[one.from]) ? "new" : read ? "read" : "";
      put(tag, word);
      tag.dataset.word = word;
      const current = step.lsn === one.lsn || step.clr === one.lsn;
      chip.classList.toggle("current", current);
      if (current) {
        chip.setAttribute("aria-current", "true");
        shown ??= chip;
      } else chip.removeAttribute("aria-current");
    }
    if (shown) {
      const wanted = shown.offsetLeft - (this.strip.clientWidth - shown.offsetWidth) / 2;
      this.strip.scrollTo({ left: wanted, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    }
  }

  showTables(step) {
    // Where steps are left out, nobody has told what came of them.
    const told = step.after !== null;
    const after = step.after ?? { active: [], dirty: [], pages: [] };
    const before = step.before ?? after;
    const rows = (now, old, key, cells, columns, none) => {
      if (now.length === 0 && old.length === 0) return [element("tr", {}, element("td", { colspan: columns, class: "none" }, none))];
      const past = new Map(old.map((one) => [one[key], one]));
      const made = now.map((one) => {
        const changed = JSON.stringify(past.get(one[key])) !== JSON.stringify(one);
        return element("tr", { class: changed ? "changed" : "" }, ...cells(one));
      });
      const gone = old.filter((one) => !now.some((other) => other[key] === one[key]));
      made.push(...gone.map((one) => element("tr", { class: "gone" }, ...cells(one))));
      return made.length > 0 ? made : [element("tr", {}, element("td", { colspan: columns, class: "none" }, none))];
    };
    const head = (text) => element("th", { scope: "row" }, text);
    const cell = (text) => element("td", { class: "mono" }, text);
    this.active.replaceChildren(...rows(after.active, before.active, "transaction", (one) => [head(one.transaction), cell(one.last_lsn), cell(one.undo_next)], "3", told ? "Nobody" : "Not told here"));
    this.dirty.replaceChildren(...rows(after.dirty, before.dirty, "page", (one) => [head(one.page), cell(one.rec_lsn)], "2", told ? "None" : "Not told here"));
    const past = new Map(before.pages.map((page) => [page.page, page]));
    const pages = after.pages.map((page) => {
      const old = past.get(page.page);
      const changed = old && JSON.stringify(old) !== JSON.stringify(page);
      const values = page.rows.map((row) => {
        const was = old?.rows.find((one) => one.name === row.name);
        const other = was && was.value !== row.value;
        return element("span", { class: "row mono" }, `${row.name} = ${row.value ?? "absent"}`, other ? element("s", {}, was.value ?? "absent") : null);
      });
      const lsn = old && old.page_lsn !== page.page_lsn ? `${old.page_lsn} → ${page.page_lsn}` : page.page_lsn;
      return element("li", { class: changed ? "changed" : "" }, element("div", { class: "line" }, element("b", {}, page.page), element("span", { class: "mono" }, `page LSN ${lsn}`)), ...values);
    });
    this.pages.replaceChildren(...(pages.length > 0 ? pages : [element("li", { class: "none" }, told ? "None in this story" : "Not told here")]));
  }

  key(event) {
    if (this.place.hidden || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.closest("input, select, textarea, [role=tab]")) return;
    const to = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, Home: 0, End: this.steps.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.go(to);
  }

  playing(on) {
    clearInterval(this.timer);
    this.timer = null;
    if (on) {
      if (this.at === this.steps.length - 1) this.go(0);
      this.timer = setInterval(() => (this.place.hidden ? this.playing(false) : this.go(this.at + 1)), EVERY);
    }
    this.play?.setAttribute("aria-pressed", String(on));
    if (this.play) put(this.play, on ? "Stop" : "Play");
  }
}

/** As one writes it, and on one line. */
function arrows(text) {
  return text.replace(/ -> /g, "\u00a0→\u00a0");
}

function sentence(text) {
  if (!text) return "";
  const begun = /^[a-z]/.test(text) && !/^[a-z]+[/.=]/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  return /[.!?)]$/.test(begun) ? begun : `${begun}.`;
}
