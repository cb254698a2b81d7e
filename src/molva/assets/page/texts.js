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

    // files
    "files.list": "Files",
    "files.which": "Which files",
    "files.mine": "From this browser",
    "files.all": "All on the server",
    "files.more": "Show more",
    "files.empty": "Nothing here yet. What you add shows up here and stays until you remove it.",
    "files.nobody": "The server has no recordings yet.",
    "files.back": "← All files",
    "files.off": "This server takes no files: jobs are switched off in its settings.",
    "files.not_done": "There is no transcript yet. Come back when the file is done.",
    "files.choose_again": "The browser has not kept this recording. Choose the file again.",
    "files.added.one": "{n} file added",
    "files.added.many": "{n} files added",
    "files.told.done": "{name} is done",
    "files.told.failed": "{name} failed",
    "files.told.cancelled": "{name} is cancelled",
    "files.told.removed": "{name} is removed",
    "files.told.stopped": "{name} is not sent",
    "drop.title": "Drop recordings here",
    "drop.choose": "Choose files",
    "drop.hint": "Audio or video, of any length and size, as many as you like. Pasting works too.",
    "wish.title": "Options",
    "wish.language": "Language",
    "wish.model": "Model",
    "wish.translate": "Translate into English",
    "wish.speakers": "Tell speakers apart",
    "wish.auto": "Detect",
    "wish.best": "The best for the language",
    "file.unnamed": "Untitled",
    "file.translated": "translated",
    "file.progress": "Progress of {name}",
    "file.waiting": "Waiting to be sent",
    "file.sending": "Sending, {percent}",
    "file.arriving": "Sent, waiting for the server",
    "file.of": "{sent} of {size}",
    "file.left": "{time} left",
    "file.again": "It will be sent again by itself.",
    "file.queued": "Next in the queue",
    "file.ahead": "In the queue, {n} before it",
    "file.looking": "Looking for speech",
    "file.running": "Transcribing, {percent}",
    "file.done": "Done in {time}",
    "file.cancelled": "Cancelled",
    "file.next": "If it plays on your computer, send it again.",
    "file.open": "Open",
    "file.cancel": "Cancel",
    "file.remove": "Remove",
    "file.retry": "Send again",
    "file.question": "Remove it with its transcript?",
    "file.sure": "Yes, remove",
    "file.keep": "Keep",
    "error.unreadable": "The browser cannot read this: it is a folder, or the file has changed or gone.",
    "error.empty_body": "The file is empty. Choose another one.",
    "error.disk_full": "The server's disk is full. Make room there, then send the file again.",
    "error.payload_too_large": "The file is larger than this server takes. Send a shorter or more compressed one.",
    "error.status413": "The file is larger than a proxy in front of the server lets through. Its operator can raise the limit.",
    "error.rate_limited": "Too much at once: the server asks for patience.",
    "error.quota_exceeded": "This key has used up what it may use. Try again later, or ask for more.",
    "error.model_not_ready": "The model is being loaded.",
    "error.initializing": "The server is starting.",
    "error.pool_closed": "The server is stopping.",
    "error.store_unavailable": "The server cannot reach its database.",
    "error.too_many_connections": "The server has too many visitors.",
    "error.job_not_found": "There is no such file on the server any more.",
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

    // files
    "files.list": "Файлы",
    "files.which": "Какие файлы",
    "files.mine": "Из этого браузера",
    "files.all": "Всё на сервере",
    "files.more": "Показать ещё",
    "files.empty": "Пока пусто. Добавленные записи появятся здесь и останутся, пока вы их не удалите.",
    "files.nobody": "На сервере пока нет записей.",
    "files.back": "← Все файлы",
    "files.off": "Этот сервер не принимает файлы: задания (jobs) выключены в его настройках.",
    "files.not_done": "Расшифровки пока нет. Загляните, когда файл будет готов.",
    "files.choose_again": "Браузер не сохранил эту запись. Выберите файл ещё раз.",
    "files.added.one": "Добавлен {n} файл",
    "files.added.few": "Добавлено {n} файла",
    "files.added.many": "Добавлено {n} файлов",
    "files.told.done": "Готово: {name}",
    "files.told.failed": "Не получилось: {name}",
    "files.told.cancelled": "Отменено: {name}",
    "files.told.removed": "Удалено: {name}",
    "files.told.stopped": "Не отправлено: {name}",
    "drop.title": "Перетащите записи сюда",
    "drop.choose": "Выбрать файлы",
    "drop.hint": "Аудио или видео любой длины и размера, сколько угодно сразу. Можно и вставить из буфера обмена.",
    "wish.title": "Параметры",
    "wish.language": "Язык",
    "wish.model": "Модель",
    "wish.translate": "Перевести на английский",
    "wish.speakers": "Различать говорящих",
    "wish.auto": "Определить",
    "wish.best": "Лучшая для языка",
    "file.unnamed": "Без названия",
    "file.translated": "перевод",
    "file.progress": "Ход работы: {name}",
    "file.waiting": "Ждёт отправки",
    "file.sending": "Отправляется, {percent}",
    "file.arriving": "Отправлен, ждём ответа сервера",
    "file.of": "{sent} из {size}",
    "file.left": "осталось {time}",
    "file.again": "Файл отправится снова сам.",
    "file.queued": "Следующий в очереди",
    "file.ahead": "В очереди, впереди: {n}",
    "file.looking": "Ищем речь",
    "file.running": "Распознаётся, {percent}",
    "file.done": "Готово за {time}",
    "file.cancelled": "Отменено",
    "file.next": "Если файл открывается на вашем компьютере, отправьте его ещё раз.",
    "file.open": "Открыть",
    "file.cancel": "Отменить",
    "file.remove": "Удалить",
    "file.retry": "Отправить снова",
    "file.question": "Удалить вместе с расшифровкой?",
    "file.sure": "Да, удалить",
    "file.keep": "Оставить",
    "error.unreadable": "Браузер не может это прочитать: это папка, либо файл изменён или удалён.",
    "error.empty_body": "Файл пуст. Выберите другой.",
    "error.disk_full": "На сервере кончилось место. Освободите его и отправьте файл снова.",
    "error.payload_too_large": "Файл больше, чем принимает этот сервер. Отправьте запись короче или сожмите её.",
    "error.status413": "Файл больше, чем пропускает прокси перед сервером. Предел можно поднять в настройках прокси.",
    "error.rate_limited": "Слишком много сразу: сервер просит подождать.",
    "error.quota_exceeded": "Этот ключ исчерпал свою норму. Попробуйте позже или попросите больше.",
    "error.model_not_ready": "Модель загружается.",
    "error.initializing": "Сервер запускается.",
    "error.pool_closed": "Сервер останавливается.",
    "error.store_unavailable": "Серверу недоступна его база данных.",
    "error.too_many_connections": "На сервере слишком много посетителей.",
    "error.job_not_found": "Этого файла на сервере больше нет.",
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
