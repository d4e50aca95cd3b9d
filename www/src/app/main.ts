// Entry of the page: puts the parts together.
import { asEaselError } from "../shared/errors.ts";
import { isLocal } from "../shared/model_address.ts";
import type { ModelInfo } from "../shared/protocol.ts";
import { App } from "./app.ts";
import { element } from "./elements.ts";
import { prompt, setUpForm, useModel } from "./form.ts";
import { deviceChoice, locationOf, readLocation, type Wish } from "./location.ts";
import { LoraList } from "./loras.ts";
import { ModelList } from "./model_list.ts";
import { hideExamples, showExamples, withStarterDefaults } from "./starter.ts";
import { hideProgress, showError, showStatus } from "./status.ts";

const select = element("device", HTMLSelectElement);
let app: App | undefined;
const loras = new LoraList(async () => app?.releaseLoras());
const models = new ModelList(open, loras);

/** Loads what the page's address asks for. */
function start(): void {
  try {
    const wish = readLocation(new URL(location.href));
    const { model, device } = wish;
    select.value = device ?? select.value;
    dress(wish);
    if (app) return void app.open(model, tuneOf(wish));
    app = new App(model, device ?? "auto", tuneOf(wish), () => models.refresh(), loras);
    void loadOrOffer(app, model);
  } catch (error) {
    refuse(error);
  }
}

/** A link to another site's model that is not kept here is a question to the user; a local one has only one answer. */
async function loadOrOffer(first: App, model: URL): Promise<void> {
  const own = model.origin === location.origin || isLocal(model);
  if (own || (await models.keeps(model))) await first.load();
  else first.offer();
}

/** Goes to a model that the user named; throws when the name leads nowhere. */
function open(name: string): void {
  const page = new URL(location.href);
  page.searchParams.set("model", name);
  history.pushState(undefined, "", locationOf(page, readLocation(page)));
  start();
}

function tuneOf({ bundled }: Wish): (info: ModelInfo) => ModelInfo {
  return bundled ? withStarterDefaults : (info) => info;
}

/** Makes the page the model's own. */
function dress({ model, bundled }: Wish): void {
  useModel(model);
  models.setCurrent(model);
  if (bundled) showExamples(setPrompt);
  else hideExamples();
}

function setPrompt(text: string): void {
  prompt.value = text;
  prompt.dispatchEvent(new Event("input"));
  prompt.focus();
}

/** There is no model to load: the button stays disabled. */
function refuse(error: unknown): void {
  showError(asEaselError(error));
  showStatus("The model could not be loaded");
  hideProgress();
  element("go", HTMLButtonElement).textContent = "Generate";
  document.body.dataset.state = "failed";
}

setUpForm();
select.addEventListener("change", () => void app?.load(deviceChoice(select.value)));
element("go", HTMLButtonElement).addEventListener("click", () => app?.press());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") app?.stop();
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  app?.generate();
});
addEventListener("popstate", start);
start();
if (import.meta.env.PROD && "serviceWorker" in navigator) {
  // Without it the page works, only not offline.
  navigator.serviceWorker.register(new URL("sw.js", document.baseURI)).catch(() => {});
}
