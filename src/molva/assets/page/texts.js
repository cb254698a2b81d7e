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

    "transcript.toFiles": "← All files",
    "transcript.unnamed": "Recording",
    "transcript.text": "What was said",
    "transcript.silent": "No speech was found in this recording.",
    "transcript.nothing": "(nothing)",
    "transcript.search": "Search",
    "transcript.found": "{n} of {all}",
    "transcript.notFound": "Not found",
    "transcript.previous": "Previous match",
    "transcript.next": "Next match",
    "transcript.edit": "Edit",
    "transcript.editHow": "Click a text to change it. Double click, Enter or F2 do so at any time",
    "transcript.copy": "Copy",
    "transcript.copied": "Copied",
    "transcript.export": "Export",
    "transcript.as.txt": "Text (.txt)",
    "transcript.as.srt": "Subtitles (.srt)",
    "transcript.as.vtt": "Web subtitles (.vtt)",
    "transcript.as.md": "Markdown (.md)",
    "transcript.as.json": "Words with times (.json)",
    "transcript.unsure": "Mark unsure words",
    "transcript.sure": "{percent}% sure",
    "transcript.speakers": "Speakers",
    "transcript.speaker": "Speaker {n}",
    "transcript.newSpeaker": "New speaker",
    "transcript.nameOf": "Name of speaker {n}",
    "transcript.speakerOf": "Who speaks at {time}",
    "transcript.textOf": "What is said at {time}",
    "transcript.hearFrom": "Listen from {time}",
    "transcript.restore": "Restore the original",
    "transcript.bringBack": "Bring my changes back",
    "transcript.restored": "The original is back.",
    "transcript.broughtBack": "Your changes are back.",
    "transcript.unkept": "This browser could not keep your changes. Export them before you leave.",
    "transcript.notKept": "This browser has no room for the recording. It will ask for it again next time.",
    "transcript.player": "Player",
    "transcript.position": "Position",
    "transcript.positionIs": "{now} of {all}",
    "transcript.play": "Play",
    "transcript.pause": "Pause",
    "transcript.back": "5 seconds back",
    "transcript.forward": "5 seconds forward",
    "transcript.speed": "Speed",
    "transcript.choose": "Choose the recording to hear it",
    "transcript.missing": "It is not in this browser.",
    "transcript.unplayable": "This browser cannot play that file.",
    "transcript.follow": "Back to what is playing",
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

    "transcript.toFiles": "← Все файлы",
    "transcript.unnamed": "Запись",
    "transcript.text": "Что было сказано",
    "transcript.silent": "В этой записи не нашлось речи.",
    "transcript.nothing": "(пусто)",
    "transcript.search": "Поиск",
    "transcript.found": "{n} из {all}",
    "transcript.notFound": "Не найдено",
    "transcript.previous": "Предыдущее совпадение",
    "transcript.next": "Следующее совпадение",
    "transcript.edit": "Править",
    "transcript.editHow": "Нажмите на текст, чтобы исправить его. Двойной щелчок, Enter и F2 работают всегда",
    "transcript.copy": "Копировать",
    "transcript.copied": "Скопировано",
    "transcript.export": "Скачать",
    "transcript.as.txt": "Текст (.txt)",
    "transcript.as.srt": "Субтитры (.srt)",
    "transcript.as.vtt": "Субтитры для веба (.vtt)",
    "transcript.as.md": "Markdown (.md)",
    "transcript.as.json": "Слова со временем (.json)",
    "transcript.unsure": "Отмечать сомнительные слова",
    "transcript.sure": "Уверенность {percent} %",
    "transcript.speakers": "Участники",
    "transcript.speaker": "Участник {n}",
    "transcript.newSpeaker": "Новый участник",
    "transcript.nameOf": "Имя участника {n}",
    "transcript.speakerOf": "Кто говорит в {time}",
    "transcript.textOf": "Что сказано в {time}",
    "transcript.hearFrom": "Слушать с {time}",
    "transcript.restore": "Вернуть исходный текст",
    "transcript.bringBack": "Вернуть мои правки",
    "transcript.restored": "Исходный текст восстановлен.",
    "transcript.broughtBack": "Ваши правки снова на месте.",
    "transcript.unkept": "Браузер не смог сохранить правки. Выгрузите текст, прежде чем уходить.",
    "transcript.notKept": "В браузере нет места для записи. В следующий раз её придётся выбрать снова.",
    "transcript.player": "Проигрыватель",
    "transcript.position": "Позиция",
    "transcript.positionIs": "{now} из {all}",
    "transcript.play": "Слушать",
    "transcript.pause": "Пауза",
    "transcript.back": "На 5 секунд назад",
    "transcript.forward": "На 5 секунд вперёд",
    "transcript.speed": "Скорость",
    "transcript.choose": "Выберите запись, чтобы её услышать",
    "transcript.missing": "В этом браузере её нет.",
    "transcript.unplayable": "Этот браузер не может воспроизвести такой файл.",
    "transcript.follow": "К тому, что звучит",
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
