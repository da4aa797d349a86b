// Buttons that copy and share. Without this script the texts are there to be selected by hand.
"use strict";

const said = document.getElementById("said");

function say(text) {
  said.textContent = ""; // the same words twice in a row are read twice
  requestAnimationFrame(() => { said.textContent = text; });
}

function select(source) {
  if (source instanceof HTMLInputElement) {
    source.select();
  } else {
    getSelection().selectAllChildren(source);
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText((source.value ?? source.textContent).trim());
    say(button.dataset.done);
  } catch {
    select(source); // not allowed, or no https: one key is left to press
    say(button.dataset.failed);
  }
}

async function share(button) {
  try {
    await navigator.share({ title: button.dataset.title, url: button.dataset.share });
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}

document.addEventListener("click", ({ target }) => { // also on buttons that come later
  const button = target.closest("[data-copy], [data-share]");
  if (button?.dataset.copy) copy(button);
  else if (button) share(button);
});
for (const button of document.querySelectorAll("[data-share]")) {
  button.hidden = !navigator.share;
}
