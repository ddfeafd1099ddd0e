// Keeps `data-live` fresh, fetches `data-fetch` on its button, asks before `data-confirm`, and lets files be dropped.
// The pages work without it.
"use strict";

async function fragment(url) {
  for (let tries = 0; ; tries++) {
    const answer = await fetch(url, { credentials: "same-origin", redirect: "follow" });
    if (answer.redirected) throw new Error("the session has ended: load this page again to log in");
    if (answer.ok) return answer.text();
    if (answer.status !== 503 || tries === 5) throw new Error(`the node answers ${answer.status}`);
    await new Promise((done) => setTimeout(done, 2000));
  }
}

// Old numbers must not look as if they were of now.
class Contact {
  constructor() {
    this.banner = document.querySelector("#lost");
    this.since = new Date();
  }

  kept() {
    this.since = new Date();
    this.banner.hidden = true;
  }

  lost(why) {
    const words = `No news from the node since ${this.since.toLocaleTimeString()} (${why}): what stands here is old.`;
    if (this.banner.textContent !== words) this.banner.textContent = words;
    this.banner.hidden = false;
  }
}

const contact = new Contact();

for (const part of document.querySelectorAll("[data-live]")) {
  const aloud = document.querySelector("#aloud"); // read out when it changes, and only then
  const shape = part.querySelector("[data-shape]")?.dataset.shape; // of the rest of the page
  let shown = "";
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const html = await fragment(part.dataset.live);
      contact.kept();
      if (html === shown) return;
      const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      part.innerHTML = shown = html; // made and escaped by our own server
      if (focused) part.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
      if (part.querySelector("[data-shape]")?.dataset.shape !== shape) location.reload();
      const said = part.querySelector("[data-say]")?.textContent.replace(/\s+/g, " ").trim();
      if (said && aloud.textContent !== said) aloud.textContent = said;
    } catch (error) {
      contact.lost(error instanceof TypeError ? "it does not answer" : error.message);
    }
  }, 1000 * Number(part.dataset.every ?? 2));
}

for (const part of document.querySelectorAll("[data-fetch]")) {
  part.querySelector("button").addEventListener("click", async (event) => {
    event.target.disabled = true;
    try {
      part.innerHTML = await fragment(part.dataset.fetch);
    } catch (error) {
      event.target.disabled = false;
      event.target.textContent = `It failed (${error.message}): try again`;
    }
  });
}

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => { if (!confirm(form.dataset.confirm)) event.preventDefault(); });
}

for (const form of document.querySelectorAll("[data-drop]")) {
  const over = (event, is) => { event.preventDefault(); form.classList.toggle("over", is); };
  form.addEventListener("dragover", (event) => over(event, true));
  form.addEventListener("dragleave", (event) => over(event, false));
  form.addEventListener("drop", (event) => {
    over(event, false);
    if (!event.dataTransfer.files.length) return;
    form.querySelector("input[type=file]").files = event.dataTransfer.files;
    form.requestSubmit();
  });
  form.addEventListener("submit", () => { form.querySelector("button").textContent = "Looking…"; });
}
