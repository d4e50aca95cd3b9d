// Entry of the page: puts the parts together.
import { asEaselError, EaselError } from "../shared/errors.ts";
import { isLocal } from "../shared/model_address.ts";
import { App } from "./app.ts";
import { element } from "./elements.ts";
import { fieldValue, onFormChange, prompt, setField, setUpForm, useModel } from "./form.ts";
import { deviceChoice, locationOf, readLocation, starterModel, type Wish } from "./location.ts";
import { LoraList } from "./loras.ts";
import { ModelList } from "./model_list.ts";
import { setUpNegativeNote } from "./negative_note.ts";
import { OfflineUse } from "./offline.ts";
import { keepOpen } from "./open_panels.ts";
import { setUpPictures, takeLink } from "./pictures.ts";
import { offerStyles } from "./prompt/style_chips.ts";
import { setUpWeightKeys } from "./prompt/weight_keys.ts";
import { reserveSettings } from "./settings/setting_choices.ts";
import { setUpShortcuts } from "./shortcuts.ts";
import { isStageEmpty, reserve } from "./stage.ts";
import { hideExamples, showExamples } from "./starter.ts";
import { hideProgress, showError, showStatus } from "./status.ts";
import { setUpTheme } from "./theme.ts";
import { keepPage } from "./updates.ts";

const select = element("device", HTMLSelectElement);
let app: App | undefined;
const loras = new LoraList(async () => app?.releaseLoras());
const models = new ModelList(open, loras, (address) => offline.deleted(address));
const offline = new OfflineUse(starterModel(), {
  survey: (model) => models.survey(model, false),
  keep: (model, signal, onEvent) => models.keep(model, signal, onEvent),
  kept: (model) => {
    models.refresh();
    if (app?.waitsFor(model)) void app.load();
  },
});

/** Turns to what the page's address asks for; `named` says that the user has just typed it. */
function start(named: boolean): void {
  try {
    const link = takeLink();
    const wish = readLocation(new URL(location.href));
    const { model, device } = wish;
    select.value = device ?? select.value;
    dress(wish);
    if (link) useSettings(link, "A link has filled the form.");
    if (app) app.turnTo(model);
    else app = new App(model, device ?? "auto", onLoadEnd, loras);
    void offline.turnTo(model);
    void loadOrOffer(app, model, named || model.origin === location.origin);
  } catch (error) {
    refuse(error);
  }
}

function onLoadEnd(error?: EaselError): void {
  if (error?.code === "forbidden") models.askForToken();
  models.refresh();
  void offline.refresh();
}

/**
 * A model that is not here yet is a question to the user; a local one has only one answer. Another site's is asked for its
 * size (`ask`) when the user named it, and else hears of it only when the answer is yes.
 */
async function loadOrOffer(app: App, model: URL, ask: boolean): Promise<void> {
  const known = await models.survey(model, false).catch(() => undefined);
  if (!app.waitsFor(model)) return;
  if (known?.whole || isLocal(model)) return app.load();
  app.offer(known);
  if (known || !ask) return;
  const asked = await models.survey(model, true).catch(asEaselError);
  if (!app.waitsFor(model)) return;
  if (asked instanceof EaselError) app.refuse(asked);
  else app.offer(asked);
}

/** Goes to a model that the user named; throws when the name leads nowhere. */
function open(name: string): void {
  const page = new URL(location.href);
  page.searchParams.set("model", name);
  history.pushState(undefined, "", locationOf(page, readLocation(page)));
  start(true);
}

/** Makes the page the model's own. */
function dress({ model, bundled }: Wish): void {
  useModel(model);
  models.setCurrent(model);
  offerStyles(bundled);
  reserveSettings();
  if (bundled) showExamples(setPrompt);
  else hideExamples();
}

function setPrompt(text: string): void {
  setField("prompt", text);
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

setUpTheme();
setUpForm();
setUpNegativeNote();
setUpWeightKeys();
setUpShortcuts(
  () => app?.generate(),
  () => app?.stop(),
);
keepOpen("process", matchMedia("(min-width: 46rem)").matches);
onFormChange(() => {
  if (isStageEmpty()) reserve(Number(fieldValue("width")), Number(fieldValue("height")));
});
const { useSettings } = setUpPictures({ open, generate: () => app?.generate() });
select.addEventListener("change", () => void app?.load(deviceChoice(select.value)));
element("go", HTMLButtonElement).addEventListener("click", () => {
  offline.giveWay();
  app?.press();
});
addEventListener("popstate", () => start(false));
start(false);
document.documentElement.dataset.dressed = "";
keepPage();
