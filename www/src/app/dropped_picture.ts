// A picture that was dropped or pasted: what its file says of how it was made, to be used, or to start from it.
import { asEaselError } from "../shared/errors.ts";
import { type PictureSettings, pictureSettings } from "../shared/picture_settings.ts";
import { readPng } from "../shared/png_text.ts";
import type { Settings } from "../shared/settings.ts";
import { filesOf, holdsOnly, registerTaker } from "./drop.ts";
import { button, make } from "./make.ts";
import { factList, factsOf } from "./picture_facts.ts";
import { receiveSharedPicture } from "./shared_picture.ts";
import { showError } from "./status.ts";

const LONGEST_SHOWN = 2000;
const LONGEST_RAW = 20_000;
const MOST_FIELDS = 60;

/** What the page does with a picture. */
export interface DroppedHost {
  startFrom: (file: Blob) => void;
  useSettings: (settings: Settings) => void;
  samplers: () => readonly { name: string; label: string }[];
}

/** Takes pictures that are dropped on the page, pasted into it, or shared with it. */
export function takePictures(host: DroppedHost): void {
  registerTaker({
    hint: "Drop the picture to start from it, or to read its settings",
    takes: (transfer) => holdsOnly(transfer, "image/"),
    take: (transfer, target) => {
      const [file] = filesOf(transfer, "image/");
      const direct = target instanceof Element && target.closest("#picture-input") !== null;
      if (file && direct) host.startFrom(file);
      else if (file) void look(file, host);
    },
  });
  void receiveSharedPicture((file) => void look(file, host));
}

/** Shows a file's settings; one without any is a picture to start from. */
async function look(file: File, host: DroppedHost): Promise<void> {
  try {
    const png = await readPng(file);
    const found = png && pictureSettings(png.texts);
    if (found || png?.skipped) show(file, found, png?.skipped ?? 0, host);
    else host.startFrom(file);
  } catch (error) {
    showError(asEaselError(error));
  }
}

function show(file: File, found: PictureSettings | undefined, skipped: number, host: DroppedHost): void {
  const dialog = make("dialog", { className: "dropped" });
  const url = URL.createObjectURL(file);
  const act = (work: () => void) => () => {
    dialog.close();
    work();
  };
  const title = make(
    "h2",
    { id: "dropped-title" },
    found ? "Settings in this picture" : "No settings to read",
  );
  const buttons = make("div", { className: "buttons" });
  if (found)
    buttons.append(
      button(
        "Use these settings",
        act(() => host.useSettings(found.settings)),
        { className: "primary small" },
      ),
    );
  buttons.append(
    button(
      "Start from the picture",
      act(() => host.startFrom(file)),
    ),
    button("Close", () => dialog.close()),
  );
  dialog.setAttribute("aria-labelledby", title.id);
  dialog.append(title, make("img", { src: url, alt: "The picture that was dropped" }));
  if (found) dialog.append(...described(found, host));
  if (found?.lacks) dialog.append(make("p", { className: "hint" }, `Easel does not have ${found.lacks}.`));
  if (skipped > 0) {
    const amount = skipped === 1 ? "One text in this file was" : `${skipped} texts in this file were`;
    dialog.append(make("p", { className: "hint" }, `${amount} passed over: too large, or damaged.`));
  }
  dialog.append(buttons);
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.addEventListener("close", () => {
    URL.revokeObjectURL(url);
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
}

function described({ tool, settings, fields, raw }: PictureSettings, host: DroppedHost): HTMLElement[] {
  const short = fields
    .slice(0, MOST_FIELDS)
    .map(([name, value]): [string, string] => [name, cut(value, LONGEST_SHOWN)]);
  const own = factsOf({ ...settings, ...shortened(settings) }, host.samplers());
  const text = make("pre", { dir: "auto", tabIndex: 0 }, cut(raw, LONGEST_RAW));
  const details = make("details", {}, make("summary", {}, "All that the file says"), factList(short), text);
  return [make("p", { className: "hint" }, `Written in the way of ${tool}.`), own, details];
}

function shortened({ prompt, negative_prompt }: Settings): Settings {
  return {
    ...(prompt && { prompt: cut(prompt, LONGEST_SHOWN) }),
    ...(negative_prompt && { negative_prompt: cut(negative_prompt, LONGEST_SHOWN) }),
  };
}

function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}
