/** What the page says, in English and in Russian. */

import { recall, remember } from "./store.js";

export const LANGUAGES = ["en", "ru"];

/** English and Russian of each; `|` divides the plural forms: one, (few,) many. */
const GROUPS = {
  page: {
    skip: ["Skip to content", "К содержанию"],
    nav: ["Main", "Разделы"],
    live: ["Live", "Речь"],
    files: ["Files", "Файлы"],
    server: ["Server", "Сервер"],
    model: ["Model", "Модель"],
    diarization: ["Tell speakers apart", "Различать говорящих"],
    speaker: ["Speaker {n}", "Участник {n}"],
    unnamed: ["Untitled", "Без названия"],
    of: ["{n} of {all}", "{n} из {all}"],
    copy: ["Copy", "Копировать"],
    copied: ["Copied", "Скопировано"],
    export: ["Export", "Скачать"],
    txt: ["Text (.txt)", "Текст (.txt)"],
    srt: ["Subtitles (.srt)", "Субтитры (.srt)"],
    vtt: ["Web subtitles (.vtt)", "Субтитры для веба (.vtt)"],
    md: ["Markdown (.md)", "Markdown (.md)"],
    json: ["Words with times (.json)", "Слова со временем (.json)"],
  },
  key: {
    button: ["Key", "Ключ"],
    title: ["This server asks for a key", "Сервер просит ключ"],
    keep: ["Remember it in this browser", "Запомнить в этом браузере"],
    wrong: ["The server does not know this key.", "Сервер не знает такого ключа."],
    forget: ["Forget", "Забыть"],
    use: ["Use it", "Применить"],
  },
  error: {
    unknown: ["The server answered {status}.", "Сервер ответил {status}."],
    unreachable: ["The server does not answer. Is it running?", "Сервер не отвечает. Он запущен?"],
    unreadable: [
      "The browser cannot read it. Is it a folder, or has it changed?",
      "Браузер не может это прочитать. Это папка, или файл изменился?",
    ],
    empty_body: ["The file is empty. Choose another one.", "Файл пуст. Выберите другой."],
    disk_full: [
      "The server's disk is full. Make room there, then send again.",
      "На сервере кончилось место. Освободите его и отправьте снова.",
    ],
    payload_too_large: [
      "Too large for this server. Compress it, then send again.",
      "Файл слишком большой для сервера. Сожмите его и отправьте снова.",
    ],
    rate_limited: ["Too much at once: the server asks for patience.", "Слишком много сразу: сервер просит подождать."],
    quota_exceeded: ["This key has used up its quota. Try again later.", "Норма этого ключа исчерпана. Попробуйте позже."],
    model_not_ready: ["The model is being loaded.", "Модель загружается."],
    initializing: ["The server is starting.", "Сервер запускается."],
    job_not_found: ["The server has no such file any more.", "Этого файла на сервере больше нет."],
  },
  server: {
    models: ["Models", "Модели"],
    state: ["State", "Состояние"],
    main: ["main", "основная"],
    load: ["Load", "Загрузить"],
    unload: ["Unload", "Выгрузить"],
    "state.ready": ["ready", "готова"],
    "state.loading": ["loading", "загружается"],
    "state.unloaded": ["not in memory", "не в памяти"],
    "state.waiting_for_gpu": ["waits for the GPU", "ждёт видеокарту"],
    sessions: ["Live sessions", "Живые сеансы"],
    requests: ["Requests", "Запросы"],
    jobs: ["Jobs", "Задания"],
    "jobs.note": ["{queued} waiting, {done} done, {failed} failed", "ждут: {queued}, готово: {done}, с ошибкой: {failed}"],
    "jobs.off": ["switched off", "выключены"],
    queue: ["Queue", "Очередь"],
    "queue.note": ["windows of up to 25 s that wait", "отрезки до 25 с, которые ждут"],
    speed: ["Speed", "Скорость"],
    "speed.note": ["faster than speech; real-time factor {n}", "быстрее речи; коэффициент реального времени {n}"],
    cpu: ["Processor", "Процессор"],
    "cpu.note": ["cores in use, of {n}", "ядер занято из {n}"],
    memory: ["Memory", "Память"],
    places: ["{n} place|{n} places", "{n} место|{n} места|{n} мест"],
    waiting: ["{n} waits|{n} wait", "{n} ждёт|{n} ждут|{n} ждут"],
    about: ["molva {version} on {device}, up {uptime}.", "molva {version} на {device}, время работы: {uptime}."],
  },
  live: {
    start: ["Start recording", "Начать запись"],
    stop: ["Stop recording", "Остановить запись"],
    abandon: ["Do not wait", "Не ждать"],
    idle: ["Press the button and speak", "Нажмите кнопку и говорите"],
    off: ["Nothing can be recorded here", "Здесь записывать нельзя"],
    asking: ["Allow it in your browser…", "Разрешите запись в браузере…"],
    connecting: ["Connecting…", "Соединяемся…"],
    waiting: ["Waiting for a place on the server…", "Ждём места на сервере…"],
    live: ["Listening", "Слушаем"],
    lost: ["Connection lost", "Связь потеряна"],
    busy: ["The server is busy", "Сервер занят"],
    finishing: ["Finishing…", "Заканчиваем…"],
    "hint.lost": [
      "Recording goes on and is sent when the server is back.",
      "Запись идёт и отправится, как только сервер ответит.",
    ],
    "hint.busy": [
      "Recording goes on and is sent when a place is free.",
      "Запись идёт и отправится, как только освободится место.",
    ],
    "hint.unsent": [
      "The last words wait for the server. Press again not to wait.",
      "Последние слова ждут сервера. Нажмите, чтобы не ждать.",
    ],
    back: ["The connection is back", "Связь восстановлена"],
    ended: ["Recording has ended", "Запись закончена"],
    level: ["Level", "Громкость"],
    elapsed: ["Time", "Время"],
    partial: ["Text after", "Текст через"],
    final: ["Final after", "Итог через"],
    source: ["Source", "Источник"],
    microphone: ["Microphone", "Микрофон"],
    screen: ["Tab or system audio", "Звук вкладки или системы"],
    transcript: ["Transcript", "Текст"],
    empty: ["Nothing here yet.", "Пока пусто."],
    clear: ["Clear", "Очистить"],
    restore: ["Bring back", "Вернуть"],
    gap: [
      "What was said until {until} is lost: there was no connection for too long.",
      "Сказанное до {until} пропало: связи не было слишком долго.",
    ],
    unfinished: ["Unfinished: heard before the connection was lost", "Не закончено: услышано до потери связи"],
    "error.insecure": [
      "Browsers record only over https:// or on the server's own machine: see docs/page.md.",
      "Браузеры записывают только по https:// или на самом сервере: см. docs/page.md.",
    ],
    "error.denied": [
      "Recording is not allowed. Allow it beside the address, then press again.",
      "Запись запрещена. Разрешите её рядом с адресом и нажмите ещё раз.",
    ],
    "error.missing": [
      "No microphone was found. Connect one, then press again.",
      "Микрофон не найден. Подключите его и нажмите ещё раз.",
    ],
    "error.silent": [
      "It was shared without sound. Press again and tick “Share audio”.",
      "Звук не передаётся. Нажмите ещё раз и отметьте «Поделиться звуком».",
    ],
    "error.failed": [
      "Recording did not start. Is another program using the microphone?",
      "Запись не началась. Не занят ли микрофон другой программой?",
    ],
    "error.unplugged": [
      "The device or the browser ended it. Press to go on.",
      "Запись прервана устройством или браузером. Нажмите, чтобы продолжить.",
    ],
    "error.key": [
      "Browsers cannot send this key. Ask for one made by molva keys create.",
      "Браузер не может передать этот ключ. Попросите ключ от molva keys create.",
    ],
    "error.inference": [
      "A piece was not recognised; the server's log says why.",
      "Часть записи не распознана; причина — в журнале сервера.",
    ],
  },
  files: {
    more: ["Show more", "Показать ещё"],
    empty: ["Nothing here yet.", "Пока пусто."],
    back: ["← All files", "← Все файлы"],
    off: ["This server takes no files: jobs are switched off.", "Этот сервер не принимает файлы: задания выключены."],
    not_done: ["There is no transcript yet.", "Расшифровки пока нет."],
    choose_again: [
      "The browser has not kept it. Choose the file again.",
      "Браузер не сохранил запись. Выберите файл ещё раз.",
    ],
    added: ["{n} file added|{n} files added", "Добавлен {n} файл|Добавлено {n} файла|Добавлено {n} файлов"],
    drop: ["Drop recordings here", "Перетащите записи сюда"],
    choose: ["Choose files", "Выбрать файлы"],
    hint: ["Audio or video of any length, as many as you like", "Аудио или видео любой длины, сколько угодно сразу"],
    options: ["Options", "Параметры"],
    language: ["Language", "Язык"],
    translate: ["Translate into English", "Перевести на английский"],
    auto: ["Detect", "Определить"],
  },
  file: {
    translated: ["translated", "перевод"],
    waiting: ["Waiting to be sent", "Ждёт отправки"],
    stopped: ["Not sent", "Не отправлено"],
    sending: ["Sending, {percent}", "Отправляется, {percent}"],
    arriving: ["Sent, waiting for the server", "Отправлен, ждём ответа сервера"],
    again: ["It will be sent again by itself.", "Файл отправится снова сам."],
    queued: ["In the queue", "В очереди"],
    looking: ["Looking for speech", "Ищем речь"],
    running: ["Transcribing, {percent}", "Распознаётся, {percent}"],
    done: ["Done in {time}", "Готово за {time}"],
    cancelled: ["Cancelled", "Отменено"],
    removed: ["Removed", "Удалено"],
    open: ["Open", "Открыть"],
    cancel: ["Cancel", "Отменить"],
    remove: ["Remove", "Удалить"],
    retry: ["Send again", "Отправить снова"],
    question: ["Remove {name} with its transcript?", "Удалить {name} вместе с расшифровкой?"],
  },
  transcript: {
    text: ["What was said", "Что было сказано"],
    silent: ["No speech was found in this recording.", "В этой записи не нашлось речи."],
    nothing: ["(nothing)", "(пусто)"],
    search: ["Search", "Поиск"],
    notFound: ["Not found", "Не найдено"],
    previous: ["Previous match", "Предыдущее совпадение"],
    next: ["Next match", "Следующее совпадение"],
    edit: ["Edit", "Править"],
    speakers: ["Speakers", "Участники"],
    newSpeaker: ["New speaker", "Новый участник"],
    nameOf: ["Name of speaker {n}", "Имя участника {n}"],
    speakerOf: ["Who speaks at {time}", "Кто говорит в {time}"],
    textOf: ["What is said at {time}", "Что сказано в {time}"],
    hearFrom: ["Listen from {time}", "Слушать с {time}"],
    restore: ["Restore the original", "Вернуть исходный текст"],
    question: ["Give up all your changes?", "Отказаться от всех правок?"],
    unkept: [
      "Your changes could not be kept. Export them before you leave.",
      "Правки не сохранились. Скачайте текст, прежде чем уходить.",
    ],
    position: ["Position", "Позиция"],
    play: ["Play", "Слушать"],
    pause: ["Pause", "Пауза"],
    back: ["5 seconds back", "На 5 секунд назад"],
    forward: ["5 seconds forward", "На 5 секунд вперёд"],
    choose: ["Choose the recording to hear it", "Выберите запись, чтобы её услышать"],
    missing: ["It is not in this browser.", "В этом браузере её нет."],
    unplayable: ["This browser cannot play that file.", "Этот браузер не может воспроизвести такой файл."],
  },
};

/** Each by `group.name`. */
export const texts = Object.fromEntries(
  Object.entries(GROUPS).flatMap(([group, all]) =>
    Object.entries(all).map(([name, pair]) => [`${group}.${name}`, pair])),
);

let language = recall("language") ?? (navigator.language.startsWith("ru") ? "ru" : "en");

/** The text of a key in the language of the page; `{name}` in it is taken from `values`. */
export function t(key, values = {}) {
  if (!t.has(key)) throw new Error(`no text for ${key}`);
  return texts[key][LANGUAGES.indexOf(language)].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

t.has = (key) => key in texts;

/** The plural form of a key that is right for a number, which is `{n}` in it. */
t.plural = (key, n) => {
  const place = { one: 0, few: 1 }[new Intl.PluralRules(language).select(n)] ?? -1;
  return t(key, { n: formatNumber(n) }).split("|").at(place);
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
