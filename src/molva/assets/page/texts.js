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
    "server.models": "Models",
    "server.model": "Model",
    "server.state": "State",
    "server.precision": "Precision",
    "server.users": "In use by",
    "server.action": "Load or unload",
    "server.main": "main",
    "server.load": "Load",
    "server.unload": "Unload",
    "server.load.told": "{model} is being loaded.",
    "server.unload.told": "{model} goes as soon as nobody uses it.",
    "server.state.ready": "ready",
    "server.state.loading": "loading",
    "server.state.unloaded": "not in memory",
    "server.state.waiting_for_gpu": "waits for the GPU",
    "server.sessions": "Live sessions",
    "server.requests": "Requests",
    "server.jobs": "Jobs",
    "server.jobs.note": "{queued} waiting, {done} done, {failed} failed",
    "server.jobs.off": "switched off",
    "server.queue": "Queue",
    "server.queue.note": "windows of up to 25 s that wait",
    "server.speed": "Speed",
    "server.speed.told": "{n}×",
    "server.speed.note": "faster than speech; real-time factor {n}",
    "server.cpu": "Processor",
    "server.cpu.note": "cores in use, of {n}",
    "server.memory": "Memory",
    "server.places.one": "{n} place",
    "server.places.many": "{n} places",
    "server.waiting.one": "{n} waits",
    "server.waiting.many": "{n} wait",
    "server.days.one": "{n} day",
    "server.days.many": "{n} days",
    "server.hours.one": "{n} hour",
    "server.hours.many": "{n} hours",
    "server.minutes.one": "{n} minute",
    "server.minutes.many": "{n} minutes",
    "server.moment": "less than a minute",
    "server.about": "molva {version} on {device}, running for {uptime}.",
    "server.about.stopping": "molva {version} on {device} is stopping; it ran for {uptime}.",
    "server.docs": "API reference",
    "server.openapi": "OpenAPI document",
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
    "server.models": "Модели",
    "server.model": "Модель",
    "server.state": "Состояние",
    "server.precision": "Точность",
    "server.users": "Кем занята",
    "server.action": "Загрузить или выгрузить",
    "server.main": "основная",
    "server.load": "Загрузить",
    "server.unload": "Выгрузить",
    "server.load.told": "Модель {model} загружается.",
    "server.unload.told": "Модель {model} будет выгружена, как только освободится.",
    "server.state.ready": "готова",
    "server.state.loading": "загружается",
    "server.state.unloaded": "не в памяти",
    "server.state.waiting_for_gpu": "ждёт видеокарту",
    "server.sessions": "Живые сеансы",
    "server.requests": "Запросы",
    "server.jobs": "Задания",
    "server.jobs.note": "ждут: {queued}, готово: {done}, с ошибкой: {failed}",
    "server.jobs.off": "выключены",
    "server.queue": "Очередь",
    "server.queue.note": "отрезки до 25 с, которые ждут",
    "server.speed": "Скорость",
    "server.speed.told": "{n}×",
    "server.speed.note": "быстрее речи; коэффициент реального времени {n}",
    "server.cpu": "Процессор",
    "server.cpu.note": "ядер занято из {n}",
    "server.memory": "Память",
    "server.places.one": "{n} место",
    "server.places.few": "{n} места",
    "server.places.many": "{n} мест",
    "server.waiting.one": "{n} ждёт",
    "server.waiting.few": "{n} ждут",
    "server.waiting.many": "{n} ждут",
    "server.days.one": "{n} день",
    "server.days.few": "{n} дня",
    "server.days.many": "{n} дней",
    "server.hours.one": "{n} час",
    "server.hours.few": "{n} часа",
    "server.hours.many": "{n} часов",
    "server.minutes.one": "{n} минуту",
    "server.minutes.few": "{n} минуты",
    "server.minutes.many": "{n} минут",
    "server.moment": "меньше минуты",
    "server.about": "molva {version} на {device}, работает {uptime}.",
    "server.about.stopping": "molva {version} на {device} останавливается; проработала {uptime}.",
    "server.docs": "Справочник API",
    "server.openapi": "Документ OpenAPI",
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
