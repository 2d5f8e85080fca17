// What moves by itself on a page: numbers and words of health, written as text. What else is out of date is an ordinary page that htmx asks
// for again. Nothing here makes HTML. Without this file the pages stay as they were when they were opened.
(() => {
  "use strict";
  const mark = document.getElementById("live");
  if (!mark) return;
  const states = ["ok", "degraded", "failed"];
  const parts = ["live-counts", "live-health", "live-details", "live-ledger"];
  let source = null;

  function show(now) {
    for (const e of document.querySelectorAll("[data-live]")) {
      const value = now[e.dataset.live];
      if (typeof value === "number" || states.includes(value)) e.textContent = String(value);
      if (states.includes(value)) e.className = "state " + value;
    }
    const news = document.getElementById("news");
    if (news && typeof now.messages === "number") {
      const n = now.messages - Number(news.dataset.since);
      news.hidden = n <= 0;
      news.firstElementChild.textContent = n === 1 ? "1 new message" : n + " new messages";
    }
  }

  function listen() {
    if (source && source.readyState !== EventSource.CLOSED) return;
    const talk = mark.dataset.conversation;
    source = new EventSource("/live" + (talk ? "?conversation=" + encodeURIComponent(talk) : ""));
    source.onopen = () => { mark.hidden = false; };
    source.onerror = () => { mark.hidden = true; };
    source.addEventListener("live-numbers", (e) => show(JSON.parse(e.data)));
    for (const name of parts) source.addEventListener(name, () => mark.dispatchEvent(new Event(name)));
  }

  function look() { // nobody sees a page in the background
    if (!document.hidden) return listen();
    if (source) source.close();
    mark.hidden = true;
  }

  document.addEventListener("visibilitychange", look);
  document.addEventListener("DOMContentLoaded", look); // after htmx, which listens to the mark
})();
