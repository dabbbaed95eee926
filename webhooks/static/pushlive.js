"use strict";
// Refreshes the status page and streams a run's log. Every page works without it.

const main = document.getElementById("main");

async function swap(id) {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(id);
  const old = document.getElementById(id);
  if (fresh && old && fresh.innerHTML !== old.innerHTML) old.replaceWith(document.adoptNode(fresh));
}

function quietly(work) {
  return work.catch(() => document.body.classList.add("offline"))
    .then(() => document.body.classList.toggle("offline", !navigator.onLine));
}

const every = Number(main.dataset.refresh || 0);
if (every) {
  setInterval(() => {
    // Replacing the page would lose the keyboard focus.
    if (!document.hidden && !document.getElementById("main").contains(document.activeElement)) quietly(swap("main"));
  }, every * 1000);
}

function follow(log) {
  const source = new EventSource(log.dataset.events);
  let due = 0;
  const refresh = () => {
    if (due) return;
    due = setTimeout(() => { due = 0; quietly(swap("summary")); }, 300);
  };
  log.textContent = "";
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    if (event.lines.length) log.append(event.lines.join("\n") + "\n");
    if (atEnd) log.scrollTop = log.scrollHeight;
    if (event.kind !== "line" && event.kind !== "vertex") refresh();
  };
  source.addEventListener("end", (message) => {
    source.close();
    refresh();
    // A run that waits at a gate continues later, so reload until it has ended.
    if (JSON.parse(message.data).state !== "ended") setTimeout(() => location.reload(), 5000);
  });
}

const zone = document.querySelector("[data-own-zone]");
if (zone) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || zone.value;

const log = document.getElementById("log");
if (log && log.dataset.events) follow(log);
