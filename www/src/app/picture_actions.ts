// What can be done with a finished picture and its settings, where the browser can: copy, share, link, save.
import { asEaselError } from "../shared/errors.ts";
import { type Settings, toFragment } from "../shared/settings.ts";
import { button, make } from "./make.ts";
import { fileName } from "./stage.ts";

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
      attempt("Copy image", () => navigator.clipboard.write([new ClipboardItem({ "image/png": file })])),
      attempt("Copy link", () => navigator.clipboard.writeText(link)),
    );
  }
  const files = [new File([file], name, { type: "image/png" })];
  if (navigator.canShare?.({ files })) actions.push(attempt("Share", () => navigator.share({ files })));
  return actions;
}

/** An address that fills the form of this page and draws nothing; servers do not get to see what is in its fragment. */
export function linkTo({ settings, model }: Pick<Finished, "settings" | "model">): string {
  const url = new URL(location.pathname, location.origin);
  const { model: _, ...others } = settings;
  url.hash = toFragment(model === undefined ? others : { ...others, model });
  return url.href;
}

/** Saves a file under a name. */
export function save(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  make("a", { href: url, download: name }).click();
  // The download has begun to read by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A button that says for a moment whether it worked. */
function attempt(text: string, work: () => Promise<void>): HTMLButtonElement {
  const made = button(text, async () => {
    try {
      await work();
      made.textContent = "Done";
    } catch (error) {
      // A share sheet that was closed is no failure.
      if (error instanceof DOMException && error.name === "AbortError") return;
      made.textContent = "Not allowed here";
      made.title = asEaselError(error).message;
    }
    setTimeout(() => {
      made.textContent = text;
    }, 2000);
  });
  return made;
}
