/** Sizes, times and names of languages as people write them. */

import { currentLanguage, formatNumber } from "./texts.js";

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** `12.3 MB`. */
export function formatBytes(n) {
  const power = Math.min(Math.floor(Math.log10(Math.max(n, 1)) / 3), UNITS.length - 1);
  const value = n / 1000 ** power;
  return formatNumber(value, {
    style: "unit",
    unit: UNITS[power],
    unitDisplay: power ? "short" : "long",
    maximumFractionDigits: power === 0 || value >= 100 ? 0 : 1,
  });
}

/** `1:05:03`, `0:07`. */
export function formatClock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** `2 hours 5 minutes`. */
export function formatDuration(seconds) {
  const minutes = Math.max(1, Math.floor(seconds / 60));
  const parts = { day: Math.floor(minutes / 1440), hour: Math.floor(minutes / 60) % 24, minute: minutes % 60 };
  return Object.entries(parts).filter(([, n]) => n > 0).slice(0, 2)
    .map(([unit, n]) => formatNumber(n, { style: "unit", unit, unitDisplay: "long" })).join(" ");
}

/** `41%` of 0.41. */
export const formatPercent = (share) => formatNumber(share, { style: "percent", maximumFractionDigits: 0 });

/** `Russian` for `ru`; the code itself where the browser has no name for it. */
export function languageName(code) {
  return new Intl.DisplayNames([currentLanguage()], { type: "language" }).of(code);
}
