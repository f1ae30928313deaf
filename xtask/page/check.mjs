// The live page in a real browser: under the demo's load, at the size of a desk and of a phone, light and dark. What it shows is
// compared with what the server says; nothing may be on the console, no request may leave, axe may find nothing.
//
// node check.mjs BROWSER BINARY PICTURES

import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import puppeteer from "puppeteer-core";

const [browserName, binary, pictures] = process.argv.slice(2);
const axe = fs.readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "afterimage-page-"));
let passed = 0;
let failed = 0;

function check(fine, what, seen = "") {
  if (fine) passed += 1;
  else failed += 1;
  console.log(`${fine ? "ok    " : "FAILED"} ${what}${fine ? "" : `: ${typeof seen === "string" ? seen : JSON.stringify(seen)}`}`);
}

/** Starts the command; gives the process and its first line. */
async function start(...words) {
  const child = spawn(binary, words, { stdio: ["ignore", "pipe", "inherit"], cwd: scratch });
  const line = new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (bytes) => {
      text += bytes;
      if (text.includes("\n")) resolve(text.split("\n")[0]);
    });
    child.on("exit", (code) => reject(new Error(`${words.join(" ")} ended with ${code}`)));
  });
  line.catch(() => {});
  return { child, line: await line };
}

async function until(what, seconds, test) {
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    const found = await test().catch(() => false);
    if (found) return found;
    await rest(200);
  }
  throw new Error(`waited ${seconds} s for: ${what}`);
}

/** A page of the browser that notes what goes wrong in it, and what it asks for. */
async function open(browser, url, { width, height, scale = 1, theme }) {
  const page = await browser.newPage();
  page.wrong = [];
  page.elsewhere = [];
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && page.wrong.push(message.text()));
  page.on("pageerror", (error) => page.wrong.push(error.message));
  page.on("request", (request) => !request.url().startsWith(url) && page.elsewhere.push(request.url()));
  await page.setViewport({ width, height, deviceScaleFactor: scale, hasTouch: width < 500, isMobile: width < 500 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
  await page.goto(url);
  return page;
}

const text = (page, selector) => page.$eval(selector, (one) => one.textContent.trim());
const number = (words) => Number(words.replace(/,/g, "").match(/-?[\d.]+/)?.[0]);

/** What axe finds, in words. */
async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await window.axe.run()).violations);
  return found.map((one) => `${one.id} at ${one.nodes.map((node) => node.target.join(" ")).slice(0, 3).join(", ")}`);
}

async function looks(page, name) {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  check(wide <= room, `${name}: nothing sticks out`, `${wide} > ${room}`);
  const found = await violations(page);
  check(found.length === 0, `${name}: axe finds nothing`, found);
}

async function picture(page, name) {
  const file = path.join(pictures, `${name}.png`);
  await page.screenshot({ path: file });
  const kib = Math.ceil(fs.statSync(file).size / 1024);
  check(kib < 200, `${name}.png is small`, `${kib} KiB`);
}

/** The numbers of /metrics by name; of those with labels, the sum. */
async function metrics(url) {
  const answer = await fetch(`${url}metrics`);
  const numbers = {};
  for (const line of (await answer.text()).split("\n")) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})? (\S+)/.exec(line);
    if (found) numbers[found[1]] = (numbers[found[1]] ?? 0) + Number(found[2]);
    const bucket = /^afterimage_wal_sync_seconds_bucket\{le="([\d.e+-]+)"\} (\S+)/.exec(line);
    if (bucket) numbers[`le ${bucket[1]}`] = Number(bucket[2]);
  }
  return numbers;
}

/** What the cards show, by their keys: the big number. */
const shown = (page) =>
  page.$$eval(".card[data-chart]", (cards) => Object.fromEntries(cards.map((card) => [card.dataset.chart, card.querySelector(".now").textContent.trim()])));

/** What the cards are to show, by the points that the server gives now: written by the page's own words. */
const wanted = (page) =>
  page.evaluate(async () => {
    const [{ count, percent, seconds, size }, { big, mean }] = await Promise.all([import("./words.js"), import("./charts.js")]);
    const { points } = await (await fetch("api/stats?since=0")).json();
    const [recent, last] = [points.slice(-3), points.at(-1)];
    const words = (text, unit) => big(text, unit).map((part) => part.textContent ?? part).join("").trim();
    return {
      commits: words(count(mean(recent, (p) => p.commits)), "a second"),
      latency: words(seconds(mean(recent, (p) => p.commit_p99)), "p99"),
      shared: words(count(mean(recent, (p) => p.commits_per_sync))),
      sync: words(seconds(mean(recent, (p) => p.sync_p99)), "p99"),
      log: words(size(mean(recent, (p) => p.log_bytes)), "a second"),
      age: words(percent(last.checkpoint_age / last.max_wal_size), "of the limit"),
      recovery: words(seconds(last.recovery)),
      segments: words(count(last.segments)),
      dirty: words(percent(last.dirty / last.frames), "of the pool"),
      hits: words(percent(mean(recent, (p) => p.hit_rate))),
    };
  });

/** What is shown is what the server gives; and what the server gives is what /metrics says. */
async function agrees(page, url) {
  // The page draws once a second: the two are asked for until they are of the same second.
  let differ = {};
  for (let turn = 0; turn < 40; turn += 1) {
    const [is, should] = [await shown(page), await wanted(page)];
    const others = Object.keys(should).filter((key) => is[key] !== should[key]);
    differ = Object.fromEntries(others.map((key) => [key, `${is[key]}, not ${should[key]}`]));
    if (others.length === 0) break;
    await rest(130);
  }
  check(Object.keys(differ).length === 0, "the cards show what the server gives", differ);

  const points = async () => (await (await fetch(`${url}api/stats?since=0`)).json()).points;
  const before = await metrics(url);
  await rest(20_000);
  const after = await metrics(url);
  const time = (one) => one.afterimage_status_timestamp_seconds;
  const within = (await points()).filter((point) => point.at - point.seconds >= time(before) - 1 && point.at <= time(after) + 1);
  const passed = time(after) - time(before);
  check(after.afterimage_up === 1 && passed > 15 && within.length > 15, "there are points of the time between two scrapes", `${passed} s, ${within.length} points`);
  const covered = within.reduce((sum, point) => sum + point.seconds, 0);
  const near = (what, value, low, high, slack) =>
    check(value >= low * (1 - slack) - 1e-9 && value <= high * (1 + slack) + 1e-9, `${what}: as in /metrics`, `${value}, and it is ${low} to ${high}`);
  // A second more or less at either end of twenty, of a load that is not even.
  for (const [what, value, name] of [
    ["commits", (p) => p.commits, "afterimage_commits_total"],
    ["log written", (p) => p.log_bytes, "afterimage_wal_bytes_total"],
    ["syncs", (p) => p.syncs, "afterimage_wal_syncs_total"],
  ]) {
    check(name in after, `/metrics has ${name}`);
    const rate = (after[name] - before[name]) / passed;
    check(rate > 0, `${what}: there are some`, String(rate));
    near(what, within.reduce((sum, point) => sum + value(point) * point.seconds, 0) / covered, rate, rate, 0.15);
  }
  const of = (top, bottom) => (after[top] - before[top]) / (after[bottom] - before[bottom]);
  const shared = of("afterimage_wal_flush_commits_total", "afterimage_wal_flushes_total");
  near("commits per sync", within.reduce((sum, point) => sum + point.commits_per_sync, 0) / within.length, shared, shared, 0.15);
  // Half of the syncs are within a bucket that /metrics tells; the points', second by second, lie around it.
  const buckets = Object.keys(after).filter((name) => name.startsWith("le ")).map((name) => [Number(name.slice(3)), after[name] - before[name]]);
  const all = after.afterimage_wal_sync_seconds_count - before.afterimage_wal_sync_seconds_count;
  const half = buckets.sort(([a], [b]) => a - b).find(([, n]) => n * 2 >= all)?.[0] ?? 0;
  const halves = within.map((point) => point.sync_p50).filter((one) => one !== null).sort((a, b) => a - b);
  near("sync latency", halves[Math.floor(halves.length / 2)], half / 2, half, 0.3);
  const last = within.at(-1);
  for (const [what, value, name] of [
    ["checkpoint age", last.checkpoint_age, "afterimage_checkpoint_age_bytes"],
    ["segments", last.segments, "afterimage_wal_segments"],
    ["recovery", last.recovery, "afterimage_estimated_recovery_seconds"],
  ]) {
    check(name in after, `/metrics has ${name}`);
    near(what, value, Math.min(before[name], after[name]), Math.max(before[name], after[name]), 0.2);
  }
  // And exactly, at one moment: the counters that the page has are those that the server gives.
  const [counters, scraped] = await Promise.all([page.evaluate(async () => (await (await fetch("api/stats")).json()).status), metrics(url)]);
  near("the commits counted", counters.commits, after.afterimage_commits_total, scraped.afterimage_commits_total, 0.02);
}

/** Every story, step by step to its end and back. */
async function stories(page) {
  await page.click("#tab-recovery");
  await page.waitForSelector(".stories button[aria-current=true]");
  const buttons = await page.$$(".stories button");
  check(buttons.length >= 13, "there is a gallery", String(buttons.length));
  for (const button of buttons) {
    const name = await button.evaluate((one) => one.textContent);
    await button.click();
    await page.waitForFunction((wanted) => document.querySelector(".story-title").textContent.startsWith(wanted), { timeout: 20_000 }, name);
    const count = Number((await text(page, ".where-at")).match(/of (\d+)/)[1]);
    await page.focus(".stepper .steps button:not(:disabled)");
    const forth = [];
    for (let step = 1; step < count; step += 1) {
      await page.keyboard.press("ArrowRight");
      forth.push(await text(page, ".said"));
    }
    const said = await text(page, ".where-at");
    check(said === `Step ${count} of ${count}` && forth.every((one) => one !== ""), `${name}: ${count} steps to the end`, said);
    for (let step = 1; step < count; step += 1) await page.keyboard.press("ArrowLeft");
    check((await text(page, ".where-at")) === `Step 1 of ${count}`, `${name}: and back`);
  }
  // Buttons, slider, a second crash.
  await page.evaluate(() => (location.hash = "recovery/fuzzy-checkpoint/0"));
  await page.waitForFunction(() => document.querySelector(".story-title").textContent.startsWith("A fuzzy checkpoint"));
  await page.select("#again", "1");
  await page.waitForFunction(() => [...document.querySelectorAll(".runs button")].some((one) => one.textContent === "Crash again"));
  const [last, next, back] = await page.$$eval(".steps button", (all) => [3, 2, 1].map((at) => all[at].textContent));
  check(last === "Last" && next.startsWith("Next") && back.endsWith("Back"), "the buttons say what they do", [last, next, back]);
  await (await page.$$(".steps button"))[3].click();
  check((await text(page, ".said")).includes("A=1 B=0 C=0"), "crashed again, it comes to the same end", await text(page, ".said"));
  await page.select("#again", "");
}

async function run() {
  const browser = await puppeteer.launch({ executablePath: (await which(browserName)) ?? browserName, args: ["--no-sandbox", "--disable-gpu", "--hide-scrollbars"], headless: true });
  const port = 20000 + (process.pid % 20000);
  const url = `http://127.0.0.1:${port}/`;
  const demo = await start("demo", "--seconds", "900", "--kills", "0", "--seed", "7", "--readers", "1", "--http", `127.0.0.1:${port}`);
  try {
    await until("the page", 60, async () => (await fetch(url)).ok);
    const desk = await open(browser, url, { width: 1280, height: 900, theme: "light" });
    await until("a healthy minute's begin", 60, async () => (await desk.evaluate(async () => (await (await fetch("/api/stats?since=0")).json()).points.length)) > 40);
    await agrees(desk, url);
    check(/commits\/s/.test(await text(desk, "#headline")), "the first line says how it is", await text(desk, "#headline"));
    check((await text(desk, "#announcer")) !== "", "and it is said aloud");
    await looks(desk, "desk, light");
    await desk.setViewport({ width: 1280, height: 1130 });
    await rest(1200);
    await picture(desk, "live-desk-light");
    await desk.setViewport({ width: 1280, height: 900 });
    // The keyboard: into a chart, and through it.
    await desk.focus('[data-chart="commits"] .chart');
    await desk.keyboard.press("ArrowLeft");
    await desk.keyboard.press("ArrowLeft");
    await rest(300);
    check(/at \d\d:\d\d:\d\d/.test(await text(desk, '[data-chart="waits"] .legend')), "arrow keys move all charts", await text(desk, '[data-chart="waits"] .legend'));
    await desk.keyboard.press("Escape");
    await desk.click('[data-chart="age"] summary');
    const rows = async () => (await desk.$$('[data-chart="age"] tbody tr')).length > 5;
    check(await until("a table's rows", 5, rows).catch(() => false), "a chart is a table too");
    await desk.click('[data-chart="age"] summary');
    await desk.select("#theme", "dark");
    check((await desk.evaluate(() => document.documentElement.dataset.theme)) === "dark", "colours can be chosen");
    await rest(600);
    await looks(desk, "desk, dark");
    await picture(desk, "live-desk-dark");
    await desk.select("#theme", "auto");
    await stories(desk);
    await desk.evaluate(() => (location.hash = "recovery/crash-in-undo/12"));
    await desk.setViewport({ width: 1280, height: 1000 });
    await desk.evaluate(() => scrollTo(0, 0));
    await rest(1200);
    await looks(desk, "recovery, desk, light");
    await picture(desk, "recovery-desk-light");
    for (const theme of ["light", "dark"]) {
      const phone = await open(browser, url, { width: 360, height: 740, scale: 2, theme });
      await until("charts", 30, async () => (await phone.$$("canvas")).length > 8);
      await rest(1500);
      await looks(phone, `phone, ${theme}`);
      await picture(phone, `live-phone-${theme}`);
      await phone.click("#tab-recovery");
      await phone.waitForSelector(".strip li");
      await rest(500);
      await looks(phone, `recovery, phone, ${theme}`);
      if (theme === "dark") await picture(phone, "recovery-phone-dark");
      check(phone.wrong.length === 0, `phone, ${theme}: nothing on the console`, phone.wrong);
      check(phone.elsewhere.length === 0, `phone, ${theme}: no request leaves`, phone.elsewhere);
      await phone.close();
    }
    check(desk.wrong.length === 0, "desk: nothing on the console", desk.wrong);
    check(desk.elsewhere.length === 0, "desk: no request leaves", desk.elsewhere);
    // A server that is gone is said to be.
    await desk.click("#tab-live");
    demo.child.kill("SIGKILL");
    await desk.waitForFunction(() => /has not answered/.test(document.querySelector("#headline").textContent), { timeout: 30_000 });
    check((await desk.$eval("#verdict", (one) => one.dataset.level)) === "bad", "a server that is gone is said to be");
    await desk.close();
  } finally {
    demo.child.kill("SIGKILL");
    await browser.close();
  }
}

async function which(name) {
  for (const place of process.env.PATH.split(path.delimiter)) {
    const file = path.join(place, name);
    if (fs.existsSync(file)) return file;
  }
  return null;
}

try {
  await run();
} catch (error) {
  check(false, "the check came to its end", error.stack);
} finally {
  fs.rmSync(scratch, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
