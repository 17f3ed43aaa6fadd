// What pages gain by script: parts that move without a reload, and buttons that copy. Everything else works without it.
"use strict";

// <div data-live="/connections/now" data-every="3">: asked for again every so many seconds, as long as the page is seen. The answer is
// the part's new content; one that is no page part (signed out, an error) ends it, and says so.
function live(part) {
  const every = 1000 * Number(part.dataset.every || 5);
  let wait = every;
  async function again() {
    if (document.hidden || part.contains(document.activeElement)) {
      return setTimeout(again, every);
    }
    try {
      const answer = await fetch(part.dataset.live, { credentials: "same-origin", redirect: "error", headers: { Accept: "text/html" } });
      if (answer.status === 401 || answer.status === 403 || answer.status === 404) {
        return tell(part, "This part no longer moves: reload the page.");
      }
      if (!answer.ok) throw new Error("not now");
      const text = await answer.text();
      if (text !== part.dataset.seen) {
        part.dataset.seen = text;
        part.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
      }
      wait = every;
    } catch {
      wait = Math.min(wait * 2, 60000);
    }
    setTimeout(again, wait);
  }
  setTimeout(again, every);
}

function tell(part, words) {
  const line = document.createElement("p");
  line.setAttribute("role", "status");
  line.textContent = words;
  part.append(line);
}

// <button hidden data-copy="id">: shown where copying works; copies the text of the element with that id.
function copies(button) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || !navigator.clipboard) return;
  const says = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not copied: select the text";
    }
    setTimeout(() => { button.textContent = says; }, 2000);
  });
}

document.querySelectorAll("[data-live]").forEach(live);
document.querySelectorAll("[data-copy]").forEach(copies);
