// Light or dark, before anything is painted: unfold's own script comes later, and sees to changes.
"use strict";

(() => {
  const chosen = localStorage.getItem("adminTheme") || '"auto"';
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  if (chosen === '"dark"' || (chosen === '"auto"' && isDark)) {
    document.documentElement.classList.add("dark");
  }
})();
