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

    "live.start": "Start recording",
    "live.stop": "Stop recording",
    "live.abandon": "Do not wait",
    "live.idle": "Press the button and speak",
    "live.off": "Nothing can be recorded here",
    "live.asking": "Allow it in your browser…",
    "live.connecting": "Connecting…",
    "live.waiting": "Waiting for a place on the server…",
    "live.on": "Listening",
    "live.lost": "Connection lost",
    "live.busy": "The server is busy",
    "live.finishing": "Finishing…",
    "live.hint.idle": "What you say appears below. The browser asks for the microphone first.",
    "live.hint.lost": "Trying again. Recording goes on, and nothing is lost: it is sent as soon as the server is back.",
    "live.hint.busy": "All its places are taken. Recording goes on and is sent as soon as one is free.",
    "live.hint.finishing": "What was said last is being recognised.",
    "live.hint.unsent": "What was said last waits for the server to come back. Press the button if you do not want to wait.",
    "live.hint.silent": "Nothing is heard. Is the microphone muted, or is another one in use?",
    "live.hint.silent.screen": "Nothing is heard. Is anything playing?",
    "live.back": "The connection is back",
    "live.ended": "Recording has ended",
    "live.level": "Level",
    "live.elapsed": "Time",
    "live.model": "Model",
    "live.delay.partial": "Text after",
    "live.delay.final": "Final after",
    "live.delay.help": "From when a word is recorded until the page has it; the median of the last ones",
    "live.ms": "{n} ms",
    "live.source": "Source",
    "live.source.microphone": "Microphone",
    "live.source.screen": "Tab or system audio",
    "live.device": "Microphone",
    "live.diarization": "Tell speakers apart",
    "live.speaker": "Speaker {n}",
    "live.transcript": "Transcript",
    "live.empty": "Nothing here yet.",
    "live.copy": "Copy all",
    "live.copied": "Copied",
    "live.save.txt": "Save as text (.txt)",
    "live.save.srt": "Save as subtitles (.srt)",
    "live.clear": "Clear",
    "live.cleared": "Cleared",
    "live.restore": "Bring back",
    "live.restored": "Brought back",
    "live.gap": "What was said until {until} could not be sent: the connection was lost for too long.",
    "live.unfinished": "Unfinished: this was heard before the connection was lost.",
    "live.error.insecure": "Browsers let a page record only on https:// or on the same machine. Put a proxy with https in front of the server (docs/deploy.md shows how), or bring its port to your machine, ssh -L 9876:127.0.0.1:9876 SERVER, and open localhost:9876 in your browser.",
    "live.error.denied": "The browser does not let this page record. Allow it in the settings beside the address, then press the button again.",
    "live.error.missing": "No microphone was found. Connect one, then press the button again.",
    "live.error.silent": "It was shared without sound. Press the button again, and tick “Share audio” in the browser's window; not every browser and window offers it.",
    "live.error.failed": "The browser could not start to record. Another program may be using the microphone: close it, then press the button again.",
    "live.error.unplugged": "The recording was ended by the device or the browser. Press the button to go on.",
    "live.error.key": "Browsers cannot send this key over a WebSocket: it has characters like = / or a space. Ask for a key made by molva keys create.",
    "live.error.inference": "The server could not recognise a piece of it. Recording goes on; its log says why.",
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

    "live.start": "Начать запись",
    "live.stop": "Остановить запись",
    "live.abandon": "Не ждать",
    "live.idle": "Нажмите кнопку и говорите",
    "live.off": "Здесь записывать нельзя",
    "live.asking": "Разрешите запись в браузере…",
    "live.connecting": "Соединяемся…",
    "live.waiting": "Ждём места на сервере…",
    "live.on": "Слушаем",
    "live.lost": "Связь потеряна",
    "live.busy": "Сервер занят",
    "live.finishing": "Заканчиваем…",
    "live.hint.idle": "Сказанное появится ниже. Сначала браузер попросит доступ к микрофону.",
    "live.hint.lost": "Пробуем снова. Запись идёт, ничего не пропадёт: всё отправится, как только сервер ответит.",
    "live.hint.busy": "Все места заняты. Запись идёт и отправится, как только место освободится.",
    "live.hint.finishing": "Распознаём последние слова.",
    "live.hint.unsent": "Последние слова ждут, пока сервер вернётся. Нажмите кнопку, если ждать не нужно.",
    "live.hint.silent": "Ничего не слышно. Может быть, микрофон выключен или выбран не тот?",
    "live.hint.silent.screen": "Ничего не слышно. Что-нибудь играет?",
    "live.back": "Связь восстановлена",
    "live.ended": "Запись закончена",
    "live.level": "Громкость",
    "live.elapsed": "Время",
    "live.model": "Модель",
    "live.delay.partial": "Текст через",
    "live.delay.final": "Итог через",
    "live.delay.help": "От записи слова до его появления на странице; медиана последних значений",
    "live.ms": "{n} мс",
    "live.source": "Источник",
    "live.source.microphone": "Микрофон",
    "live.source.screen": "Звук вкладки или системы",
    "live.device": "Микрофон",
    "live.diarization": "Различать говорящих",
    "live.speaker": "Говорящий {n}",
    "live.transcript": "Текст",
    "live.empty": "Пока пусто.",
    "live.copy": "Копировать всё",
    "live.copied": "Скопировано",
    "live.save.txt": "Сохранить как текст (.txt)",
    "live.save.srt": "Сохранить как субтитры (.srt)",
    "live.clear": "Очистить",
    "live.cleared": "Очищено",
    "live.restore": "Вернуть",
    "live.restored": "Возвращено",
    "live.gap": "Сказанное до {until} не удалось отправить: связи не было слишком долго.",
    "live.unfinished": "Не закончено: это успели услышать до потери связи.",
    "live.error.insecure": "Браузеры разрешают запись только на https:// или на том же компьютере. Поставьте перед сервером прокси с https (как — в docs/deploy.md) или пробросьте порт к себе, ssh -L 9876:127.0.0.1:9876 СЕРВЕР, и откройте в браузере localhost:9876.",
    "live.error.denied": "Браузер не разрешает этой странице записывать. Разрешите запись в настройках рядом с адресом и нажмите кнопку ещё раз.",
    "live.error.missing": "Микрофон не найден. Подключите его и нажмите кнопку ещё раз.",
    "live.error.silent": "Звук не передаётся. Нажмите кнопку ещё раз и отметьте в окне браузера «Поделиться звуком»; это возможно не во всех браузерах и не для всех окон.",
    "live.error.failed": "Браузер не смог начать запись. Возможно, микрофон занят другой программой: закройте её и нажмите кнопку ещё раз.",
    "live.error.unplugged": "Запись прервана устройством или браузером. Нажмите кнопку, чтобы продолжить.",
    "live.error.key": "Браузер не может передать этот ключ через WebSocket: в нём есть знаки вроде =, / или пробела. Попросите ключ, созданный командой molva keys create.",
    "live.error.inference": "Часть записи сервер распознать не смог. Запись идёт дальше; причина — в его журнале.",
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
