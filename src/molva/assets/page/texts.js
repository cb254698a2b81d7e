/** What the page says, in Russian and in English. Both have the same keys; a test holds them to it. */

import { recall, remember } from "./store.js";

export const LANGUAGES = ["en", "ru"];

export const texts = {
  en: {
    skip: "Skip to content",
    nav: "Main",
    live: "Live",
    files: "Files",
    server: "Server",
    theme: "Light or dark",
    "theme.auto": "Theme: as the system",
    "theme.light": "Theme: light",
    "theme.dark": "Theme: dark",
    "key.button": "Key",
    "key.title": "This server asks for a key",
    "key.label": "Key",
    "key.keep": "Remember it in this browser",
    "key.wrong": "The server does not know this key.",
    "key.forget": "Forget",
    "key.use": "Use it",
    "error.unknown": "The server answered {status}.",
    "error.unreachable": "The server does not answer. Is it running?",
    "error.invalid_api_key": "The server asks for a key.",
  },
  ru: {
    skip: "К содержанию",
    nav: "Разделы",
    live: "Речь",
    files: "Файлы",
    server: "Сервер",
    theme: "Светлая или тёмная",
    "theme.auto": "Тема: как в системе",
    "theme.light": "Тема: светлая",
    "theme.dark": "Тема: тёмная",
    "key.button": "Ключ",
    "key.title": "Сервер просит ключ",
    "key.label": "Ключ",
    "key.keep": "Запомнить в этом браузере",
    "key.wrong": "Сервер не знает такого ключа.",
    "key.forget": "Забыть",
    "key.use": "Применить",
    "error.unknown": "Сервер ответил {status}.",
    "error.unreachable": "Сервер не отвечает. Он запущен?",
    "error.invalid_api_key": "Сервер просит ключ.",
  },
};

let language = recall("language") ?? (navigator.language.startsWith("ru") ? "ru" : "en");

/** The text of a key in the language of the page; `{name}` in it is taken from `values`. */
export function t(key, values = {}) {
  const text = texts[language][key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

t.has = (key) => key in texts[language];

/** `one|few|many` of a key by the number's plural form in the language of the page; English has one and many. */
t.plural = (key, n, values = {}) => {
  const form = new Intl.PluralRules(language).select(n);
  return t(t.has(`${key}.${form}`) ? `${key}.${form}` : `${key}.many`, { n: formatNumber(n), ...values });
};

export function formatNumber(n, options = {}) {
  return new Intl.NumberFormat(language, options).format(n);
}

export function currentLanguage() {
  return language;
}

export function setLanguage(chosen) {
  language = chosen;
  remember("language", chosen);
}
