// Joins what is about finished pictures and pictures to start from with the form and the stage.
import { asEaselError } from "../shared/errors.ts";
import { fromFragment, type Settings, settingsOf } from "../shared/settings.ts";
import { listenForDrops } from "./drop.ts";
import { takePictures } from "./dropped_picture.ts";
import { element } from "./elements.ts";
import { type FinishedPicture, onFinished, onOffered } from "./finished.ts";
import { applyParams, fieldValue, onFormChange, onReadForm } from "./form.ts";
import { Gallery } from "./gallery/gallery.ts";
import type { StartingPoint } from "./gallery/starting_point.ts";
import { modelInLink, readLocation } from "./location.ts";
import { make } from "./make.ts";
import { shareActions } from "./picture_actions.ts";
import { PictureInput, type Start } from "./picture_input/picture_input.ts";
import { showError } from "./status.ts";
import { showToast } from "./toast.ts";

interface PageActions {
  /** Opens a model by its address. */
  open: (address: string) => void;
  generate: () => void;
}

/** Settings in the page's address, which is freed of them: a reload must not undo what was typed since. */
export function takeLink(): Settings | undefined {
  const settings = fromFragment(location.hash);
  if (Object.keys(settings).length === 0) return undefined;
  const url = new URL(location.href);
  url.hash = "";
  if (settings.model !== undefined) url.searchParams.set("model", settings.model);
  history.replaceState(history.state, "", url);
  return settings;
}

/** Sets up the gallery, the picture input, and what is dropped and pasted. */
export function setUpPictures({ open, generate }: PageActions): {
  /** Fills the form and says so, with a way back. */
  useSettings: (settings: Settings, said?: string) => void;
} {
  const input = new PictureInput();
  const startFrom = (file: Blob) => void input.start(file);
  const host = { startFrom, useSettings, samplers };
  const drawAgain = async (settings: Settings, start: StartingPoint | undefined) => {
    const [undo, before] = [undoForm(), input.current];
    useSettings(settings, undefined, () => {
      undo();
      void useStart(before);
    });
    if (await useStart(start && startOf(start, settings))) generate();
  };
  const useStart = (start: Start | undefined) =>
    input.use(start).then(
      () => true,
      (error) => void showError(asEaselError(error)),
    );
  const gallery = new Gallery({ ...host, openModel: open, drawAgain, model, modelInLink: linkName });
  takePictures(host);
  listenForDrops();
  onReadForm((params) => input.complete(params));
  followSize(input);
  const share = make("div", { id: "share" });
  onOffered((picture) => {
    share.replaceChildren(...(picture ? shareButtons(picture) : []));
    if (picture) element("result", HTMLElement).append(share);
    else share.remove();
  });
  onFinished(({ png, params, width, height }) => {
    const address = model();
    if (address) void gallery.keep(png, params, address, { width, height });
  });
  return { useSettings };
}

function shareButtons({ png, params }: FinishedPicture): HTMLElement[] {
  const address = model();
  return shareActions({ file: png, settings: settingsOf(params), model: address && linkName(address) });
}

function useSettings(
  { model: _, strength: __, ...params }: Settings,
  said = "The form has these settings now.",
  undo = undoForm(),
): void {
  applyParams(params);
  scrollTo({ top: 0 });
  showToast({ text: said, action: "Undo", act: undo });
}

function undoForm(): () => void {
  const before = formSettings();
  return () => applyParams(before);
}

function startOf({ image, mask: bytes, width, height }: StartingPoint, { strength = 1 }: Settings): Start {
  return { file: image, mask: bytes && { width, height, bytes }, strength };
}

/** What the form holds of what settings can hold, as it is typed. */
function formSettings(): Parameters<typeof applyParams>[0] {
  return {
    prompt: fieldValue("prompt"),
    negative_prompt: fieldValue("negative_prompt"),
    steps: Number(fieldValue("steps")),
    guidance_scale: Number(fieldValue("guidance_scale")),
    sampler: fieldValue("sampler"),
    seed: Number(fieldValue("seed")),
    width: Number(fieldValue("width")),
    height: Number(fieldValue("height")),
  };
}

function samplers(): { name: string; label: string }[] {
  const { options } = element("sampler", HTMLSelectElement);
  return [...options].map(({ value, label }) => ({ name: value, label }));
}

/** The model that the page's address names; `undefined` where that is none. */
function model(): URL | undefined {
  try {
    return readLocation(new URL(location.href)).model;
  } catch {
    return undefined;
  }
}

function linkName(address: URL): string | undefined {
  return modelInLink(address, new URL(location.href));
}

function followSize(input: PictureInput): void {
  const fit = () => input.fit({ width: Number(fieldValue("width")), height: Number(fieldValue("height")) });
  onFormChange(fit);
  fit();
}
