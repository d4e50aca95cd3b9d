// Entry of the page: puts the parts together.
import { asEaselError } from "../shared/errors.ts";
import { App } from "./app.ts";
import { element } from "./elements.ts";
import { prompt, setUpForm } from "./form.ts";
import { deviceChoice, readLocation, type Wish } from "./location.ts";
import { showExamples, withStarterDefaults } from "./starter.ts";
import { hideProgress, showError, showStatus } from "./status.ts";

function start({ model, bundled, device }: Wish): void {
  const select = element("device", HTMLSelectElement);
  select.value = device ?? "auto";
  const app = new App(model, device ?? "auto", bundled ? withStarterDefaults : undefined);
  if (bundled) {
    showExamples((text) => {
      prompt.value = text;
      prompt.dispatchEvent(new Event("input"));
      prompt.focus();
    });
  }
  select.addEventListener("change", () => void app.load(deviceChoice(select.value)));
  element("go", HTMLButtonElement).addEventListener("click", () => app.press());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") app.stop();
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    app.generate();
  });
  void app.load();
}

/** There is no model to load: the button stays disabled. */
function refuse(error: unknown): void {
  showError(asEaselError(error));
  showStatus("The model could not be loaded");
  hideProgress();
  element("go", HTMLButtonElement).textContent = "Generate";
  document.body.dataset.state = "failed";
}

try {
  const wish = readLocation(new URL(location.href));
  setUpForm(wish.model);
  start(wish);
} catch (error) {
  refuse(error);
}
if (import.meta.env.PROD && "serviceWorker" in navigator) {
  // Without it the page works, only not offline.
  navigator.serviceWorker.register(new URL("sw.js", document.baseURI)).catch(() => {});
}
