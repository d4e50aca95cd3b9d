// What can be done with a finished picture and its settings, where the browser can: copy, share, link, save.
import { asEaselError } from "../shared/errors.ts";
import { type Settings, toFragment } from "../shared/settings.ts";
import { button, glyph, make } from "./make.ts";
import { fileName } from "./stage.ts";

const SAID_MS = 2000;

/** A finished picture. */
export interface Finished {
  file: Blob;
  settings: Settings;
  /** What leads to its model; the page's own model needs no name. */
  model: string | undefined;
}

/** Buttons that pass a picture on, as far as this browser can. */
export function shareActions(finished: Finished): HTMLElement[] {
  const { file, settings } = finished;
  const name = fileName(settings.prompt ?? "", settings.seed ?? 0);
  const link = linkTo(finished);
  const actions: HTMLElement[] = [];
  if ("ClipboardItem" in window && navigator.clipboard) {
    actions.push(
      attempt("copy", "Copy image", () =>
        navigator.clipboard.write([new ClipboardItem({ "image/png": file })]),
      ),
      attempt("link", "Copy link", () => navigator.clipboard.writeText(link)),
    );
  }
  const files = [new File([file], name, { type: "image/png" })];
  if (navigator.canShare?.({ files }))
    actions.push(attempt("share", "Share", () => navigator.share({ files })));
  return actions;
}

/** An address that fills the form of this page and draws nothing; servers do not get to see what is in its fragment. */
export function linkTo({ settings, model }: Pick<Finished, "settings" | "model">): string {
  const url = new URL(location.pathname, location.origin);
  const { model: _, ...others } = settings;
  url.hash = toFragment(model === undefined ? others : { ...others, model });
  return url.href;
}

/** A button that says for a moment whether it worked. */
function attempt(icon: string, text: string, work: () => Promise<void>): HTMLButtonElement {
  const label = make("span", {}, text);
  const made = button("", async () => {
    // What it says meanwhile is not to move its neighbours.
    made.style.minWidth = `${made.offsetWidth}px`;
    try {
      await work();
      label.textContent = "Done";
    } catch (error) {
      // A share sheet that was closed is no failure.
      if (error instanceof DOMException && error.name === "AbortError") return;
      label.textContent = "Not allowed";
      made.title = asEaselError(error).message;
    }
    setTimeout(() => {
      label.textContent = text;
    }, SAID_MS);
  });
  made.replaceChildren(glyph(icon), label);
  return made;
}
