// A form is sent once, however often its button is clicked, and says so where that takes long.
"use strict";

const SLOW_MS = 4_000;
const GIVEN_UP_MS = 20_000; // the answer is lost, or somebody stopped it: it may be sent again
const sending = new Set();

function tellSlow(form) {
  const said = document.createElement("p");
  said.className = "still-sending";
  said.setAttribute("role", "status");
  form.append(said);
  said.textContent = document.body.dataset.stillSending;
}

function release(form) {
  form.removeAttribute("aria-busy");
  form.querySelector(".still-sending")?.remove();
  sending.delete(form);
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.dataset.passkey) return;
  if (sending.has(form)) {
    event.preventDefault();
    return;
  }
  sending.add(form);
  form.setAttribute("aria-busy", "true");
  setTimeout(() => { if (sending.has(form)) tellSlow(form); }, SLOW_MS);
  setTimeout(() => release(form), GIVEN_UP_MS);
});

// Back may show the page as it was left: its forms are to be sent again.
addEventListener("pageshow", () => sending.forEach(release));
