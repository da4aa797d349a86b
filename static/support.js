// A story that is underway is looked at again every few seconds, unless somebody is about to act on
// it. Without this file there is the link "Look again".
"use strict";

const PAUSE_MS = 3000;

function isInUse() {
  const typed = [...document.querySelectorAll("input[name=reason]")].some((field) => field.value);
  return typed || document.querySelector("details[open]") || document.activeElement?.name === "reason";
}

setInterval(() => isInUse() || document.hidden || location.reload(), PAUSE_MS);
