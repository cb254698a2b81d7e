/** Sizes, lengths and names of languages as people write them. */

import { currentLanguage, formatNumber } from "./texts.js";

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

function scaled(n) {
  const power = Math.min(Math.floor(Math.log10(Math.max(n, 1)) / 3), UNITS.length - 1);
  const value = n / 1000 ** power;
  return [value, UNITS[power], { maximumFractionDigits: power === 0 || value >= 100 ? 0 : 1 }];
}

/** `12.3 MB`. */
export function formatBytes(n) {
  const [value, unit, digits] = scaled(n);
  return formatNumber(value, { style: "unit", unit, unitDisplay: unit === "byte" ? "long" : "short", ...digits });
}

/** `3.1 MB/s`. */
export function formatSpeed(bytesPerSecond) {
  const [value, unit, digits] = scaled(bytesPerSecond);
  return formatNumber(value, { style: "unit", unit: `${unit}-per-second`, unitDisplay: "short", ...digits });
}

/** `1:05:03`, `0:07`. */
export function formatClock(seconds) {
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** `русский` for `ru`; the code itself where the browser has no name for it. */
export function languageName(code) {
  return new Intl.DisplayNames([currentLanguage()], { type: "language" }).of(code);
}
