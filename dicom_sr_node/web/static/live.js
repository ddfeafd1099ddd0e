// Keeps `data-live` fresh, fetches `data-fetch` on its button, and lets files be dropped. The pages work without it.
"use strict";

async function fragment(url) {
  const answer = await fetch(url, { credentials: "same-origin", redirect: "follow" });
  if (answer.redirected) location.assign("/login"); // the session has ended
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.text();
}

for (const part of document.querySelectorAll("[data-live]")) {
  const aloud = part.parentElement.querySelector("[role=status]"); // read out when it changes, and only then
  let shown = "";
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const html = await fragment(part.dataset.live);
      if (html !== shown) {
        const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        part.innerHTML = shown = html; // made and escaped by our own server
        if (focused) part.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
      }
      const said = part.querySelector("[data-say]")?.textContent.replace(/\s+/g, " ").trim() ?? "";
      if (aloud && aloud.textContent !== said) aloud.textContent = said;
      part.classList.remove("stale");
    } catch {
      part.classList.add("stale");
    }
  }, 2000);
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
}
