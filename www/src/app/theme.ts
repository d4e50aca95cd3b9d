import { element } from "./elements.ts";
import { keepText, recallText } from "./memory.ts";

const STORED = "easel.theme";

const button = element("theme", HTMLButtonElement);
/** Colours of the browser's own bars, the light one first; each is asked for when the system's theme is its own. */
const bars = [...document.querySelectorAll<HTMLMetaElement>("meta[name=theme-color]")].map((meta) => ({
  meta,
  own: meta.content,
}));
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

/** Light and dark colours: the system's, or what was chosen here. */
export function setUpTheme(): void {
  show(stored());
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    // The system's choice needs no keeping, and may change with the hour.
    const chosen = (theme === "dark") === systemIsDark.matches ? undefined : theme;
    keepText(STORED, chosen);
    show(chosen);
  });
  systemIsDark.addEventListener("change", () => show(stored()));
}

function isDark(): boolean {
  const { theme } = document.documentElement.dataset;
  return theme === undefined ? systemIsDark.matches : theme === "dark";
}

function show(theme: string | undefined): void {
  if (theme === undefined) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  button.setAttribute("aria-pressed", String(isDark()));
  const chosen = theme && bars[theme === "light" ? 0 : 1];
  for (const bar of bars) bar.meta.content = (chosen || bar).own;
}

function stored(): string | undefined {
  const theme = recallText(STORED);
  return theme === "light" || theme === "dark" ? theme : undefined;
}
