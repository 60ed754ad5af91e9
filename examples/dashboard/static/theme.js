// Before anything is drawn, so that the page does not flash in the other colours. Without a choice the system's holds.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const current = () => root.dataset.theme ?? (system.matches ? "dark" : "light");
  const other = () => (current() === "dark" ? "light" : "dark");
  const storage = () => { try { return localStorage; } catch { return null; } }; // switched off in some browsers

  const stored = storage()?.getItem("theme");
  if (stored === "light" || stored === "dark") root.dataset.theme = stored;

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => {
      button.title = `Switch to ${other()} colours`;
      button.setAttribute("aria-label", button.title);
    };
    button.addEventListener("click", () => {
      root.dataset.theme = other();
      storage()?.setItem("theme", root.dataset.theme);
      name();
    });
    system.addEventListener("change", name);
    name();
  });
})();
