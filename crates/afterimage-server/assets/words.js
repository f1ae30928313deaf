// Numbers as people read them. The same forms as the commands print, so that both can be compared at a glance.

/** A rate or count: whole with commas from a hundred on, else with a decimal where it has one. */
export function count(n) {
  if (n == null || !Number.isFinite(n)) return "–";
  if (Math.abs(n) < 100) return String(Math.round(n * 10) / 10);
  return Math.round(n).toLocaleString("en-US");
}

/** A large number in few characters, for an axis: 12k, 1.5M. */
export function brief(n) {
  if (n >= 1e6) return trim(n / 1e6) + "M";
  if (n >= 1e4) return trim(n / 1e3) + "k";
  return trim(n).replace(/\B(?=(\d{3})+$)/g, n >= 1000 ? "," : "");
}

/** A time, in seconds, in the unit that fits. */
export function seconds(s) {
  if (s == null || !Number.isFinite(s)) return "–";
  if (s === 0) return "0 s";
  if (s < 0.0009995) return `${Math.round(s * 1e6)} µs`;
  if (s < 0.00995) return `${(s * 1e3).toFixed(1)} ms`;
  if (s < 0.9995) return `${Math.round(s * 1e3)} ms`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 59.5) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** A number of bytes in binary units. */
export function size(bytes) {
  if (bytes == null || !Number.isFinite(bytes)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (Math.abs(bytes) >= 1024 && unit + 1 < units.length) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit === 0 || bytes >= 100 ? Math.round(bytes) : trim(bytes)} ${units[unit]}`;
}

/** A part of one. */
export function percent(part) {
  if (part == null || !Number.isFinite(part)) return "–";
  const hundred = part * 100;
  // 99.97 must not be shown as all.
  if (hundred > 99.5 && hundred < 100) return `${Math.min(99.99, Math.floor(hundred * 100) / 100)} %`;
  return `${hundred < 10 ? trim(hundred) : Math.round(hundred)} %`;
}

/** A moment, in seconds since 1970, as a clock shows it. */
export function clock(at, withSeconds = true) {
  const date = new Date(at * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const text = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return withSeconds ? `${text}:${two(date.getSeconds())}` : text;
}

/** At most one decimal, and none where it says nothing. */
function trim(n) {
  return String(Math.round(n * 10) / 10);
}

/** An element with attributes and children; text is text, never markup. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** Puts text into an element, and leaves it alone where nothing changed: a reader's selection stays. */
export function put(where, text) {
  if (where.textContent !== text) where.textContent = text;
}
