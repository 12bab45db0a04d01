// What scripts add: keys, ranges, drop and paste, a queue of uploads, further pages while scrolling.
// Every page works without.
"use strict";

const root = document.documentElement;
root.classList.add("scripts");

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);

// Times in the reader's own zone.
function localise(within) {
  const times = all("time", within);
  // Making a format takes longer than all else that runs before the first image is seen.
  if (!times.length) return;
  const format = new Intl.DateTimeFormat(root.lang, { dateStyle: "medium", timeStyle: "short" });
  for (const each of times) each.textContent = format.format(new Date(each.dateTime));
}

// The offer to undo goes after 30 s, unless somebody is just at it; the page of changes has it for a day.
function fade(notice) {
  const over = () => (notice.matches(":hover, :focus-within") ? fade(notice) : notice.remove());
  setTimeout(over, 1000 * Number(notice.dataset.fades));
}

// Each page has its person's token: another one came to this tab's browser by another tab.
const tokenOf = (page) => one("[name=token]", page)?.value;

// The end of a session is told before it comes. Asking how long it lasts is no use of it; other tabs may use it.
const SOON_MS = 10 * 60_000;

function tellEnd(ending) {
  const [stay, again] = [one("[data-stay]", ending), one("[data-again]", ending)];
  const lasts = !stay.hidden;
  let [timer, due] = [0, 0];
  const later = (pause_ms) => {
    clearTimeout(timer);
    timer = setTimeout(look, pause_ms);
    due = Date.now() + pause_ms;
  };
  const show = (left_ms) => {
    const over = left_ms <= 0;
    ending.hidden = left_ms > SOON_MS;
    one("[data-soon]", ending).hidden = over;
    one("[data-over]", ending).hidden = !over;
    stay.hidden = over || !lasts;
    again.hidden = !stay.hidden;
  };
  const look = async () => {
    later(60_000);
    const answer = await fetch(ending.dataset.ending).catch(() => null);
    if (!answer?.ok) return;
    const left_ms = 1000 * Number(await answer.text());
    show(left_ms);
    if (left_ms > SOON_MS) later(Math.max(60_000, left_ms - SOON_MS));
  };
  stay.addEventListener("click", async (event) => {
    event.preventDefault();
    await fetch(stay.href).catch(() => null);
    look();
  });
  ending.hidden = true;
  // A page that is opened has more than ten hours, but for the last ones of its seven days.
  later(lasts ? 10 * 3_600_000 : 1000);
  // Timers stand still while a computer sleeps; whoever comes back from another tab has signed in there.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && (!ending.hidden || Date.now() > due)) look();
  });
}

function isBrokenJson(text) {
  if (!/^\s*[{[]/.test(text)) return false;
  try {
    JSON.parse(text);
    return false;
  } catch {
    return true;
  }
}

// Bytes that a brief has left, and whether it is the JSON that it begins to be.
function countBytes(field) {
  const shown = one("[data-left]", field.closest("label"));
  const most = Number(field.dataset.bytes);
  const warning = one("[data-json]", field.closest("label"));
  const count = () => {
    if (warning) warning.hidden = !isBrokenJson(field.value);
    const left = most - new TextEncoder().encode(field.value).length;
    const number = Math.abs(left);
    const sentence = shown.dataset[(left < 0 ? "over" : "left") + (number === 1 ? "One" : "")];
    shown.textContent = sentence.replace("{n}", number);
    field.setAttribute("aria-invalid", String(left < 0));
  };
  field.addEventListener("input", count);
  count();
}

// What is chosen and written, for the same page in another language, or after a form that was cancelled.
const keep = (kept) => sessionStorage.setItem("kept", JSON.stringify({ at: location.pathname, fields: [], picked: [], ...kept }));

const isWritten = (field) =>
  field.name && !["hidden", "password", "file", "submit", "button"].includes(field.type) && !field.matches("[data-pick]");

function changedFields() {
  const found = [];
  for (const field of all("input, textarea, select", one("main")).filter(isWritten)) {
    const ticks = ["checkbox", "radio"].includes(field.type);
    const options = all("option", field);
    const before = ticks ? field.defaultChecked : options.length ? options.find((each) => each.defaultSelected)?.value ?? options[0].value : field.defaultValue;
    if ((ticks ? field.checked : field.value) === before) continue;
    found.push([field.form?.getAttribute("action"), field.name, field.value, ticks ? field.checked : null]);
  }
  return found;
}

function restore() {
  const kept = JSON.parse(sessionStorage.getItem("kept") ?? "null");
  const cameFrom = document.referrer && new URL(document.referrer).pathname;
  if (kept?.at !== location.pathname) return;
  sessionStorage.removeItem("kept");
  if (kept.from && (kept.from !== cameFrom || new URLSearchParams(location.search).has("done"))) return;
  for (const [action, name, value, checked] of kept.fields) {
    const same = all(`[name="${CSS.escape(name)}"]`).filter((each) => each.form?.getAttribute("action") === action);
    const field = checked === null ? same[0] : same.find((each) => each.value === value);
    if (!field) continue;
    if (checked === null) field.value = value;
    else field.checked = checked;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  // What was written is about the image as it was then: whoever has changed it since is not overwritten.
  for (const field of all('main [name="version"]')) if (kept.version) field.value = kept.version;
  if (kept.picked.length) document.dispatchEvent(new CustomEvent("console:restore", { detail: kept.picked }));
}

function speak(link) {
  link.addEventListener("click", async (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    const again = one("form[data-resend]");
    if (!again) {
      const fields = changedFields();
      const picked = all("[data-pick]:checked").map((each) => each.value);
      if (fields.length || picked.length) keep({ fields, picked, version: fields.length ? one('main [name="version"]')?.value : null });
      if (one("[data-pages]")) link.search = new URLSearchParams({ back: location.pathname + location.search });
      return;
    }
    // The page is the answer to a form: the form is asked for its answer again.
    event.preventDefault();
    const left = again.matches("[data-signed-out]") ? await fetch("/console/session").then((answer) => answer.text(), () => "") : "0";
    if (left !== "0") return;
    await fetch(link.href, { redirect: "manual" }).catch(() => null);
    if (again.matches("[data-conflict]")) one("[name=version]", again).value = "0";
    if (again.dataset.resend) again.action = again.dataset.resend;
    again.submit();
  });
}

// An undo leads back to where somebody is: to the image in focus, of the page in sight.
function comeBack(form) {
  form.addEventListener("submit", () => {
    const place = document.activeElement?.closest?.("[data-card]")?.querySelector("[data-open]").id ?? location.hash.slice(1);
    if (one("[data-grid]") && place.startsWith("at-")) one("[name=back]", form).value = `${location.pathname}${location.search}#${place}`;
  });
}

// Selection: a click, Shift for a range, Ctrl+A for all, Escape for none.
function select(form) {
  const picks = () => all("[data-pick]");
  let last = null;
  const show = () => {
    const count = picks().filter((each) => each.checked).length;
    one("[data-count]", form).textContent = count;
    form.hidden = count === 0;
    one("[data-clear]", form).hidden = count === 0;
    one("[data-grid]")?.classList.toggle("picking", count > 0);
  };
  const set = (chosen, checked) => {
    for (const each of chosen) each.checked = checked;
    show();
  };
  const pick = (box, ranged) => {
    const boxes = picks();
    const ends = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
    if (ranged && ends[0] >= 0) set(boxes.slice(ends[0], ends[1] + 1), box.checked);
    last = box;
    show();
  };
  document.addEventListener("click", (event) => {
    if (event.target.matches("[data-pick]")) pick(event.target, event.shiftKey);
  });
  one("[data-clear]", form).addEventListener("click", () => set(picks(), false));
  document.addEventListener("console:pick", (event) => {
    event.detail.box.checked = !event.detail.box.checked;
    pick(event.detail.box, event.detail.ranged);
  });
  document.addEventListener("console:all", () => set(picks(), true));
  document.addEventListener("console:none", () => set(picks(), false));
  document.addEventListener("console:more", show);
  // Whoever comes back, or reloads, finds boxes checked by the browser, after this has run.
  addEventListener("pageshow", show);
  // Those that are chosen on pages that are not loaded now have boxes that nobody sees.
  const beyond = (sign) => {
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", name: "sign", value: sign, checked: true, hidden: true });
    box.dataset.pick = "";
    form.append(box);
  };
  document.addEventListener("console:restore", (event) => {
    const boxes = new Map(picks().map((each) => [each.value, each]));
    for (const sign of event.detail) {
      if (boxes.has(sign)) boxes.get(sign).checked = true;
      else beyond(sign);
    }
    show();
  });
  document.addEventListener("console:more", () => {
    for (const box of all("[data-pick][hidden]", form)) {
      const seen = all("[data-pick]:not([hidden])").find((each) => each.value === box.value);
      if (!seen) continue;
      seen.checked = box.checked;
      box.remove();
    }
  });
  form.addEventListener("submit", (event) => {
    // Back to the image that follows what is deleted, or to the edited one.
    const boxes = picks();
    const chosen = boxes.filter((each) => each.checked);
    const after = boxes.slice(boxes.indexOf(chosen.at(-1)) + 1).find((each) => !each.checked);
    const deletes = event.submitter?.matches(".danger");
    const at = deletes ? after ?? boxes.findLast((each) => !each.checked) : chosen[0];
    const here = new URL(location.href);
    one("[name=back]", form).value = here.pathname + here.search + (at ? `#at-${at.value}` : "");
    if (!deletes) keep({ picked: chosen.map((each) => each.value), from: "/console/edit" });
  });
  show();
}

// Results in their order, for the pages of their images: j and k go through them.
function remember(grid) {
  const signs = all("[data-open]", grid).map((each) => each.id.slice(3));
  sessionStorage.setItem("results", JSON.stringify(signs));
}

function steps(between) {
  const signs = JSON.parse(sessionStorage.getItem("results") ?? "[]");
  const at = signs.indexOf(between.dataset.steps);
  for (const [rel, sign] of [["prev", signs[at - 1]], ["next", signs[at + 1]]]) {
    if (at < 0 || !sign) continue;
    const link = one(`[rel=${rel}]`, between);
    link.href = `/console/images/${sign}${location.search}`;
    link.hidden = false;
    if (rel === "prev") continue;
    for (const field of all("[data-next]")) field.value = sign;
    for (const button of all('button[value="next"]')) button.hidden = false;
    for (const field of all('form[action="/console/delete"] [name=back]')) field.value = `/console/images/${sign}${location.search}`;
  }
}

// Keys. In the grid: arrows or j and k move, x picks, e edits, Delete deletes, Enter opens.
const typing = (target) => target.matches("input:not([type=checkbox]), textarea, select");
const MOVES = ["j", "k", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];

function columns(links) {
  const top = links[0]?.closest("[data-card]").offsetTop;
  const next = links.findIndex((each) => each.closest("[data-card]").offsetTop !== top);
  return next < 0 ? links.length : next;
}

// Capitals, the Delete of a Mac and letters of other keyboards stand for the same keys.
function keyOf({ key, code }) {
  if (key === "Backspace") return "Delete";
  if (key.length > 1) return key;
  return key > "\u007f" && code.startsWith("Key") ? code.at(-1).toLowerCase() : key.toLowerCase();
}

function move(event, links) {
  const at = links.indexOf(document.activeElement);
  const steps = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1 };
  const down = { ArrowDown: 1, ArrowUp: -1 };
  const step = steps[keyOf(event)] ?? (down[event.key] ?? 0) * columns(links);
  if (!step || (at < 0 && event.key.startsWith("Arrow"))) return false;
  const next = at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + step));
  links[next].focus();
  return true;
}

function act(event, links) {
  const card = document.activeElement?.closest?.("[data-card]");
  const box = card && one("[data-pick]", card);
  const form = one("[data-selection]");
  const key = keyOf(event);
  if (key === "x" && box) {
    document.dispatchEvent(new CustomEvent("console:pick", { detail: { box, ranged: event.shiftKey } }));
    return true;
  }
  if (event.key === "Escape") {
    document.dispatchEvent(new CustomEvent("console:none"));
    return true;
  }
  if (form && ["Delete", "e"].includes(key)) {
    if (!all("[data-pick]:checked").length && box) box.checked = true;
    if (!all("[data-pick]:checked").length) return false;
    form.requestSubmit(one(key === "e" ? "button:not([type]):not(.danger)" : ".danger", form));
    return true;
  }
  return move(event, links);
}

function press(event) {
  // Keys of an input method, such as the Enter that takes Chinese letters over, are its own.
  if (event.isComposing || event.keyCode === 229) return undefined;
  const key = keyOf(event);
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  const links = all("[data-open]");
  if (event.key === "Escape" && typing(event.target)) return event.target.blur();
  if (typing(event.target)) {
    // Enter saves and goes on; Shift+Enter is a line end.
    const { form } = event.target;
    const next = form && (one('button[value="next"]', form) ?? one('button[value="stay"]', form));
    if (event.key === "Enter" && !event.shiftKey && plain && next) {
      event.preventDefault();
      if (!event.repeat) form.requestSubmit(next);
    }
    return undefined;
  }
  if ((event.ctrlKey || event.metaKey) && key === "a" && links.length) {
    event.preventDefault();
    return document.dispatchEvent(new CustomEvent("console:all"));
  }
  // A key that is held moves on, and does nothing else again.
  if (!plain || (event.repeat && !MOVES.includes(key))) return undefined;
  if (links.length && act(event, links)) return event.preventDefault();
  const found = one(`[data-key="${CSS.escape(key)}"]:not([hidden])`);
  if (!found) return undefined;
  event.preventDefault();
  if (found.matches("a, button")) return found.click();
  found.focus();
  // Who goes on writing does so at the end.
  return found.matches("textarea") && found.setSelectionRange(found.value.length, found.value.length);
}

// The files of a folder that was dropped, also of the folders in it.
async function within(entry) {
  if (entry.isFile) return new Promise((done) => entry.file((file) => done([file]), () => done([])));
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader gives at most a hundred at once, and none at the end.
    const some = await new Promise((done) => reader.readEntries(done, () => done([])));
    if (!some.length) return found.flat();
    found.push(...(await Promise.all(some.map(within))));
  }
}

// Files that are dropped or pasted go where chosen ones go.
function drop(form) {
  const field = one("input[type=file]", form);
  const same = (a, b) => a.name === b.name && a.size === b.size && a.lastModified === b.lastModified;
  const take = (files) => {
    const found = [...files];
    if (!found.length) return;
    const chosen = new DataTransfer();
    // Several drops add up. Types are guesses by the names: the server looks at the files.
    const several = [...field.files, ...found.filter((each) => ![...field.files].some((known) => same(known, each)))];
    const first = found.find((each) => each.type.startsWith("image/")) ?? found[0];
    for (const each of field.multiple ? several : [first]) chosen.items.add(each);
    field.files = chosen.files;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const over = async (event) => {
    event.preventDefault();
    form.classList.toggle("over", event.type === "dragover");
    if (event.type !== "drop") return;
    // Both are empty once the event is over.
    const { files } = event.dataTransfer;
    const entries = [...event.dataTransfer.items].map((each) => each.webkitGetAsEntry?.()).filter(Boolean);
    const folders = field.multiple && entries.some((each) => each.isDirectory);
    take(folders ? (await Promise.all(entries.map(within))).flat() : files);
  };
  for (const name of ["dragover", "dragleave", "drop"]) form.addEventListener(name, over);
  document.addEventListener("paste", (event) => {
    // Sheets and documents put an image of the text beside it: in a field, the text is meant.
    if (!typing(event.target) || !event.clipboardData.types.includes("text/plain")) take(event.clipboardData.files);
  });
}

// The part of an image that is searched with: drawn, moved and sized; the fields say it in percent.
function part(form) {
  const framed = one("[data-framed]", form);
  const grip = one("[data-grip]", form);
  const fields = Object.fromEntries(["left", "top", "width", "height"].map((name) => [name, form.elements[name]]));
  const box = () => Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, Number(field.value) || 0]));
  const within = (value, least, most) => Math.round(10 * Math.min(most, Math.max(least, value))) / 10;
  const show = () => {
    for (const [name, value] of Object.entries(box())) grip.style[name] = `${value}%`;
  };
  const set = (wanted) => {
    const width = within(wanted.width, 2, 100);
    const height = within(wanted.height, 2, 100);
    fields.width.value = width;
    fields.height.value = height;
    fields.left.value = within(wanted.left, 0, 100 - width);
    fields.top.value = within(wanted.top, 0, 100 - height);
    show();
  };
  const at = (event) => {
    const sides = framed.getBoundingClientRect();
    return { x: (100 * (event.clientX - sides.left)) / sides.width, y: (100 * (event.clientY - sides.top)) / sides.height };
  };
  framed.addEventListener("pointerdown", (event) => {
    const began = at(event);
    const from = box();
    const sides = grip.getBoundingClientRect();
    const corner = Math.hypot(event.clientX - sides.right, event.clientY - sides.bottom) < 16;
    // A frame around the whole image has nowhere to move to, and no outside to draw in.
    const whole = from.width > 95 && from.height > 95;
    const kind = corner ? "size" : event.target === grip && !whole ? "move" : "draw";
    const move = (moved) => {
      const now = at(moved);
      if (kind === "move") set({ ...from, left: from.left + now.x - began.x, top: from.top + now.y - began.y });
      else if (kind === "size") set({ ...from, width: Math.min(now.x, 100) - from.left, height: Math.min(now.y, 100) - from.top });
      else {
        const [left, top] = [Math.max(0, Math.min(began.x, now.x)), Math.max(0, Math.min(began.y, now.y))];
        set({ left, top, width: Math.min(100, Math.max(began.x, now.x)) - left, height: Math.min(100, Math.max(began.y, now.y)) - top });
      }
    };
    event.preventDefault();
    framed.setPointerCapture(event.pointerId);
    framed.addEventListener("pointermove", move);
    framed.addEventListener("lostpointercapture", () => framed.removeEventListener("pointermove", move), { once: true });
    grip.focus();
  });
  grip.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const now = box();
    set(event.shiftKey
      ? { ...now, width: now.width + step[0], height: now.height + step[1] }
      : { ...now, left: now.left + step[0], top: now.top + step[1] });
  });
  form.addEventListener("input", show);
  one("[data-frame]", form).hidden = true;
  grip.hidden = false;
  show();
}

// The server makes large photos smaller; here only one that is longer than a form may be.
const [SIDE_MAX, BYTES_MAX, SENT_BYTES_MAX] = [4096, 2_900_000, 15_000_000];

async function fitting(file) {
  if (file.size <= SENT_BYTES_MAX || !file.type.startsWith("image/")) return file;
  const image = await createImageBitmap(file).catch(() => null);
  if (!image) return file;
  const canvas = document.createElement("canvas");
  for (let scale = Math.min(1, SIDE_MAX / Math.max(image.width, image.height)); scale > 0.1; scale *= 0.8) {
    [canvas.width, canvas.height] = [Math.round(image.width * scale), Math.round(image.height * scale)];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
    if (blob && blob.size <= BYTES_MAX) return new File([blob], `${file.name.replace(/\.[^.]*$/, "")}.jpg`, { type: blob.type });
  }
  return file;
}

// What becomes of a file that the server did not see, as the server tells of the others.
function outcomeOf(name, told, kind = "bad") {
  const list = document.createElement("ul");
  list.className = "outcomes";
  list.innerHTML = '<li><span class="mat"></span><span class="title"></span><span class="told"></span></li>';
  list.firstChild.className = kind;
  one(".title", list).textContent = name;
  one(".told", list).textContent = told;
  return list;
}

// Tells beside a field what the server says of it; without it of none.
function refuse(form, why = null) {
  for (const each of all(".problem[id]", form)) each.remove();
  for (const each of all("[aria-invalid=true]", form)) each.removeAttribute("aria-invalid");
  if (!why) return;
  const field = form.elements[why.id.slice(4)];
  (field.closest(".pair") ?? field.closest("label")).after(document.importNode(why, true));
  field.setAttribute("aria-describedby", why.id);
  field.setAttribute("aria-invalid", "true");
  field.focus();
}

// Files go one by one, so one that is refused holds up no other.
async function queue(form) {
  const fields = all("input[type=file]", form);
  const files = fields.flatMap((field) => [...field.files]);
  fields[0].setCustomValidity(files.length ? "" : form.dataset.none);
  if (!files.length) return fields[0].reportValidity();
  if (form.classList.contains("busy")) return;
  const list = one("[data-outcomes]");
  const progress = one("[data-progress]", form);
  const [stop, counted] = [one("[data-stop]", form), one("[data-counted]", form)];
  form.classList.add("busy");
  refuse(form);
  for (const each of [progress, stop, counted]) each.hidden = false;
  progress.max = files.length;
  progress.value = 0;
  const failed = [];
  let [away, stopped, change, refused] = [false, false, "", 0];
  stop.onclick = () => {
    stopped = true;
    stop.hidden = true;
  };
  const count = (sent) => {
    progress.value = sent;
    counted.textContent = form.dataset.counts.replace("{n}", sent).replace("{all}", files.length).replace("{refused}", refused);
  };
  const leaving = (event) => event.preventDefault();
  addEventListener("beforeunload", leaving);
  // A line for each file, of which the file's own outcome takes the place.
  const lines = files.map((file) => outcomeOf(file.name, form.dataset.queued, "queued"));
  list.replaceChildren(...lines);
  const tell = (at, outcome) => {
    lines[at].replaceWith(outcome);
    if (!one(".good", outcome)) refused += 1;
    count(at + 1);
  };
  count(0);
  for (const [at, file] of files.entries()) {
    if (stopped) {
      failed.push(file);
      lines[at].replaceWith(outcomeOf(file.name, form.dataset.stopped));
      continue;
    }
    if (file.type && !file.type.startsWith("image/")) {
      tell(at, outcomeOf(file.name, form.dataset.format));
      continue;
    }
    one(".told", lines[at]).textContent = form.dataset.sending;
    const body = new FormData(form);
    body.delete("image");
    const fitted = await fitting(file);
    body.append("image", fitted);
    body.append("change", change);
    const answer = away ? null : await sent(form, body, file.name, () => stopped);
    const part = answer && new DOMParser().parseFromString(await answer.text(), "text/html");
    // All files of a queue are one change, with one undo.
    const done = part && one(".notice", part);
    if (done) {
      change = one("[name=change]", done)?.value ?? change;
      one(".notice")?.remove();
      one("main").prepend(document.importNode(done, true));
    }
    const room = part && one("[data-room]", part);
    if (room) one("[data-room]").textContent = room.textContent;
    const why = part && one("[data-queue] .problem[id]", part);
    if (why) {
      // What is wrong with a field is so for each file.
      refuse(form, why);
      failed.push(file);
      lines[at].replaceWith(outcomeOf(file.name, why.textContent));
      stopped = true;
      continue;
    }
    const outcome = part && one(".outcomes", part);
    if (outcome && one("[data-passing]", outcome)) failed.push(file);
    if (!outcome) {
      failed.push(file);
      away = !answer || answer.status === 401;
    }
    if (outcome && fitted !== file) one(".told", outcome).append(` ${form.dataset.fitted}`);
    const told = answer ? one("h1", part)?.textContent : form.dataset.lost;
    tell(at, outcome ? document.importNode(outcome, true) : outcomeOf(file.name, told ?? String(answer.status)));
  }
  stop.hidden = true;
  removeEventListener("beforeunload", leaving);
  all("[data-fades]").forEach(fade);
  form.classList.remove("busy");
  // What failed for another reason than the file's own stays chosen, to be sent again.
  const kept = new DataTransfer();
  for (const file of failed) kept.items.add(file);
  for (const field of fields) field.files = field === fields[0] ? kept.files : new DataTransfer().files;
}

// Sends one file. A server that restarts, or has too much to do, is asked again for a minute or two.
async function sent(form, body, name, isStopped) {
  const wait = one("p[data-waits]", form);
  for (const pause_s of [1, 2, 4, 8, 15, 30, 30, 0]) {
    const answer = await fetch(form.action, { method: "POST", body }).catch(() => null);
    wait.hidden = true;
    if (answer && ![429, 502, 503, 504].includes(answer.status)) return answer;
    if (!pause_s) return answer;
    wait.hidden = false;
    wait.textContent = `${form.dataset.waits} ${name}`;
    for (let left_s = pause_s; left_s > 0 && !isStopped(); left_s -= 1) await new Promise((done) => setTimeout(done, 1000));
    wait.hidden = isStopped();
    if (isStopped()) return answer;
  }
  return null;
}

// Further pages while scrolling, forwards and back. Pages far from sight are taken out, so the tab
// stays small; while images are selected none is, and loading ends at the bound instead.
const CARDS_MAX = 600;

function scrollOn(pager) {
  const grid = one("[data-grid]");
  const [back, on] = [one("[data-back]"), one("[data-more]", pager)];
  if (!on) return;
  const pageOf = (found, here, cards) => {
    const [prev, next] = ["prev", "next"].map((rel) => one(`.pager a[rel=${rel}]`, found)?.getAttribute("href"));
    return { cards, here, prev, next };
  };
  const pages = [pageOf(document, location.href, all("[data-card]", grid))];
  // The column of the first card: the others keep theirs when cards before them come or go.
  let offset = 0;
  const shift = (by) => {
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    for (const page of pages.slice(0, 2)) page.cards[0].style.gridColumnStart = "";
    offset = (((offset + by) % columns) + columns) % columns;
    if (offset) pages[0].cards[0].style.gridColumnStart = offset + 1;
  };
  // What is in sight stays there. Most browsers see to that, but not at the very top.
  const steadily = (change) => {
    const seen = scrollY < 1 || !CSS.supports("overflow-anchor", "auto")
      ? all("[data-card]", grid).find((each) => each.getBoundingClientRect().bottom > 0) : null;
    const top = seen?.getBoundingClientRect().top;
    change();
    if (seen?.isConnected) scrollBy(0, seen.getBoundingClientRect().top - top);
  };
  const forwards = (page, full) => {
    grid.append(...page.cards);
    pages.push(page);
    if (!full) return;
    const { cards } = pages.shift();
    for (const each of cards) each.remove();
    shift(cards.length);
  };
  const backwards = (page, full) => {
    grid.prepend(...page.cards);
    pages.unshift(page);
    shift(-page.cards.length);
    if (full) for (const each of pages.pop().cards) each.remove();
  };
  // The address is that of the page in sight, for whoever goes on from here and comes back.
  const locate = () => {
    const inSight = pages.findLast((page) => page.cards[0].getBoundingClientRect().top < innerHeight / 2) ?? pages[0];
    const { href } = new URL(inSight.here, location.href);
    if (href !== location.href) history.replaceState(history.state, "", href);
  };
  const show = () => {
    for (const [link, href] of [[back, pages[0].prev], [on, pages.at(-1).next]]) {
      link.hidden = !href;
      if (href) link.setAttribute("href", href);
    }
    locate();
    document.dispatchEvent(new CustomEvent("console:more"));
  };
  let [loading, pause_s] = [false, 0];
  const load = async (link) => {
    const full = pages.reduce((sum, page) => sum + page.cards.length, 0) >= CARDS_MAX;
    if (loading || link.hidden || (full && one("[data-pick]:checked"))) return;
    loading = true;
    const answer = await fetch(link.href).catch(() => null);
    one("[data-failed]", pager).hidden = Boolean(answer?.ok);
    // Whoever is signed out gets the form to sign in.
    if (answer?.redirected) return location.reload();
    pause_s = answer?.ok ? 0 : Math.min(60, 2 * pause_s || 1);
    if (pause_s) await new Promise((done) => setTimeout(done, 1000 * pause_s));
    if (answer?.ok) {
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      // Images of two libraries in one list would be told apart by nobody.
      if (tokenOf(found) !== tokenOf(document)) return location.reload();
      const cards = all("[data-card]", found).map((each) => document.importNode(each, true));
      const page = pageOf(found, link.href, cards);
      if (cards.length) steadily(() => (link === on ? forwards : backwards)(page, full));
      else if (link === on) pages.at(-1).next = null;
      else pages[0].prev = null;
      show();
    }
    loading = false;
    // Seen anew: a link that stays in sight is not reported twice.
    for (const each of [back, on]) {
      seen.unobserve(each);
      seen.observe(each);
    }
  };
  const seen = new IntersectionObserver((entries) => {
    for (const each of entries) if (each.isIntersecting) load(each.target);
  }, { rootMargin: "800px" });
  addEventListener("resize", () => shift(-offset));
  let scrolled = 0;
  addEventListener("scroll", () => {
    clearTimeout(scrolled);
    scrolled = setTimeout(locate, 100);
  });
  one("a[rel=prev]", pager)?.remove();
  if (pages[0].prev) back.setAttribute("href", pages[0].prev);
  back.hidden = !pages[0].prev;
  seen.observe(on);
  // Whoever comes by an address in the middle sees that page first.
  addEventListener("scroll", () => seen.observe(back), { once: true });
}

// The adds of the last days, in the page's own colours; the table below has the same numbers.
function chart(place) {
  const [days, counts] = JSON.parse(place.dataset.chart);
  const times = days.map((day) => Date.parse(day) / 1000);
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  let plot = null;
  const draw = () => {
    plot?.destroy();
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    plot = new uPlot({
      width: place.clientWidth,
      height: 176,
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "UTC"),
      axes: [{ ...axis, size: 28, space: 80, grid: { show: false }, values: (_, ticks) => ticks.map((each) => new Date(each * 1000).toLocaleDateString(root.lang, { month: "short", day: "numeric", timeZone: "UTC" })) },
        { ...axis, size: 64, values: (_, ticks) => ticks.map((each) => (Number.isInteger(each) ? each.toLocaleString(root.lang) : "")) }],
      scales: { x: { range: (_, least, most) => [least - 43_200, most + 43_200] }, y: { range: (_, least, most) => [0, Math.max(1, most * 1.1)] } },
      series: [{}, { stroke: colour("--accent"), fill: colour("--accent"), width: 0, paths: uPlot.paths.bars({ size: [0.7, 32], align: 0 }), points: { show: false } }],
    }, [times, counts], place);
  };
  draw();
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

// How many of the selected images would change, and how, told while the form is filled in.
function preview(form) {
  const planned = one("[data-planned]", form);
  let [timer, asking] = [0, new AbortController()];
  const ask = async () => {
    asking.abort();
    asking = new AbortController();
    const fields = new URLSearchParams(new FormData(form));
    fields.set("preview", "1");
    const answer = await fetch(form.dataset.previews, { method: "POST", body: fields, signal: asking.signal }).catch(() => null);
    const page = answer && new DOMParser().parseFromString(await answer.text().catch(() => ""), "text/html");
    // What is refused is told once it is sent: here somebody may not be done yet.
    if (page) planned.replaceChildren(...(one("[data-planned]", page)?.childNodes ?? []));
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 300);
  });
}

localise(document);
all("[data-ending]").forEach(tellEnd);
if (window.uPlot) all("[data-chart]").forEach(chart);
all("[data-fades]").forEach(fade);
all("[data-bytes]").forEach(countBytes);
all("[data-selection]").forEach(select);
all("[data-drop]").forEach(drop);
all("[data-results]").forEach(remember);
all("[data-steps]").forEach(steps);
all("[data-language]").forEach(speak);
all('.notice form[action="/console/undo"]').forEach(comeBack);
restore();
if (location.hash.startsWith("#at-")) document.getElementById(location.hash.slice(1))?.focus();
all("[data-part]").forEach(part);
all("[data-pages]").forEach(scrollOn);
all("[data-previews]").forEach(preview);
document.addEventListener("keydown", press);
// A form is sent once: twice on a slow line, the second would be about what the first has changed.
document.addEventListener("submit", (event) => {
  const form = event.target;
  // One that only asks may be corrected before its answer comes.
  if (event.defaultPrevented || form.method === "get") return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "1";
  setTimeout(() => delete form.dataset.sent, 30_000);
});
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});
for (const field of all("[data-sends]"))
  field.addEventListener("change", async () => {
    field.form.classList.add("busy");
    const chosen = new DataTransfer();
    for (const file of field.files) chosen.items.add(await fitting(file));
    field.files = chosen.files;
    field.form.requestSubmit();
  });
for (const form of all("[data-queue]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    queue(form);
  });
  form.addEventListener("change", () => one("input[type=file]", form).setCustomValidity(""));
}
for (const range of all("[data-range]"))
  range.addEventListener("input", () => {
    one("[data-output]", range.form).textContent = Number(range.value).toFixed(2);
  });
for (const field of all("[data-sets]"))
  field.addEventListener("input", () => {
    one(`[name="${field.dataset.sets}"][value="set"]`, field.form).checked = true;
  });
for (const button of all("[data-copies]"))
  button.addEventListener("click", () => {
    navigator.clipboard?.writeText(document.getElementById(button.dataset.copies).textContent);
    button.textContent = "✓";
  });
