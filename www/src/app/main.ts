// Entry of the page: puts the parts together.
import { BUNDLED } from "../shared/bundled_model.ts";
import { asEaselError, EaselError } from "../shared/errors.ts";
import { isLocal } from "../shared/model_address.ts";
import { App } from "./app.ts";
import { element } from "./elements.ts";
import { fieldValue, onFormChange, prompt, setField, setUpForm, suggestPrompt, useModel } from "./form.ts";
import { deviceChoice, locationOf, readLocation, starterModel, type Wish } from "./location.ts";
import { LoraList } from "./loras.ts";
import { keepText, recallText } from "./memory.ts";
import { ModelList } from "./model_list.ts";
import { setUpNegativeNote } from "./negative_note.ts";
import { OfflineUse } from "./offline.ts";
import { keepOpen } from "./open_panels.ts";
import { setUpPictures, takeLink } from "./pictures.ts";
import { showState } from "./primary_button.ts";
import { offerStyles } from "./prompt/style_chips.ts";
import { setUpWeightKeys } from "./prompt/weight_keys.ts";
import { reserveSettings } from "./settings/setting_choices.ts";
import { setUpShortcuts } from "./shortcuts.ts";
import { isStageEmpty, reserve } from "./stage.ts";
import { hideExamples, SUGGESTION, showExamples } from "./starter.ts";
import { hideProgress, showError, showStatus } from "./status.ts";
import { setUpTheme } from "./theme.ts";
import { keepPage } from "./updates.ts";

/** The name that the choice of a device is kept under. */
const DEVICE = "easel.device";

const select = element("device", HTMLSelectElement);
let app: App | undefined;
/** Whether the page's address leads to no model. */
let refused = false;
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
    const { model, device = deviceChoice(recallText(DEVICE)) ?? "auto" } = wish;
    select.value = device;
    dress(wish);
    refused = false;
    if (link) useSettings(link, "A link has filled the form.");
    if (app) app.turnTo(model);
    else app = new App(model, device, onLoadEnd, loras);
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
  suggestPrompt(bundled ? SUGGESTION : "");
  if (bundled) showExamples(setPrompt);
  else hideExamples();
}

function setPrompt(text: string): void {
  setField("prompt", text);
  // On a phone the focus would bring up the keyboard, over the button that comes next.
  if (matchMedia("(pointer: fine)").matches) prompt.focus();
}

/** What the address asks for is no model: the button leads to the one that there is. */
function refuse(error: unknown): void {
  refused = true;
  showError(asEaselError(error));
  showStatus("The model could not be loaded");
  hideProgress();
  showState("refused");
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
select.addEventListener("change", () => {
  const device = deviceChoice(select.value);
  if (!device) return;
  keepText(DEVICE, device);
  app?.turnToDevice(device);
});
element("go", HTMLButtonElement).addEventListener("click", () => {
  if (refused) return open(BUNDLED);
  offline.giveWay();
  app?.press();
});
addEventListener("popstate", () => start(false));
start(false);
document.documentElement.dataset.dressed = "";
keepPage();
