// The admin's pages under a policy that evaluates no text: what unfold's templates name is given to
// Alpine's CSP build here, and what that build cannot read is said in functions.
"use strict";

const SIDEBAR = "sidebarDesktopOpen"; // unfold's name in localStorage

function page(firstTab) {
  return {
    activeTab: firstTab && (getCurrentTab() || firstTab),
    sidebarMobileOpen: false,
    sidebarDesktopOpen: localStorage.getItem(SIDEBAR) !== "0",
    // unfold's form names these two parts of the global; expressions may not see the rest of it.
    window: { location: { pathname: location.pathname, search: location.search } },
    toggleSidebar() {
      this.sidebarDesktopOpen = !this.sidebarDesktopOpen;
      localStorage.setItem(SIDEBAR, this.sidebarDesktopOpen ? "1" : "0");
    },
  };
}

document.addEventListener("alpine:init", () => {
  Alpine.data("theme", theme);
  Alpine.data("searchForm", searchForm);
  Alpine.data("page", page);
});
