// The gallery: keeps every finished picture, and shows them under the stage.
import { asEaselError, EaselError } from "../../shared/errors.ts";
import { modelName } from "../../shared/model_address.ts";
import { fileSize, Pace, timeLeft } from "../../shared/pace.ts";
import type { GenerateParams } from "../../shared/protocol.ts";
import { type Settings, settingsOf } from "../../shared/settings.ts";
import { element } from "../elements.ts";
import { button, make } from "../make.ts";
import { shareActions } from "../picture_actions.ts";
import { saveFile } from "../save_file.ts";
import { fileName } from "../stage.ts";
import { showError } from "../status.ts";
import { showToast } from "../toast.ts";
import { exportZip } from "./export.ts";
import { Grid } from "./grid.ts";
import { type StartingPoint, startingPoint } from "./starting_point.ts";
import { GalleryStore, type Picture } from "./store.ts";
import { thumbnailOf } from "./thumbnail.ts";
import { type Shown, Viewer } from "./viewer.ts";

const EXPORT = "Export as zip";

/** What the page does for the gallery. */
export interface GalleryHost {
  /** Address of the model that is open. */
  model: () => URL | undefined;
  openModel: (address: string) => void;
  samplers: () => readonly { name: string; label: string }[];
  /** Fills the form. */
  useSettings: (settings: Settings) => void;
  /** Fills the form, with what to start from or nothing, and draws. */
  drawAgain: (settings: Settings, start: StartingPoint | undefined) => void;
  /** Takes a picture as the one to start from. */
  startFrom: (file: Blob) => void;
  /** What names a model in a link; `undefined` where no name is needed. */
  modelInLink: (model: URL) => string | undefined;
}

/** The section of the page. */
export class Gallery {
  readonly #host: GalleryHost;
  readonly #store = GalleryStore.open();
  readonly #grid: Grid;
  readonly #viewer: Viewer;
  readonly #note = make("p", { className: "gallery-note hint" });
  readonly #usage = make("p", { className: "gallery-note hint" });
  readonly #problem = make("p", { className: "gallery-note hint" });
  readonly #filter = button("Starred only", () => this.#toggleFilter(), { ariaPressed: "false" });
  readonly #export = button(EXPORT, () => void this.#exportShown());
  /** What is shown, the latest first. */
  #keys: number[] = [];
  /** Deleted, as long as that can be undone. */
  readonly #deleted = new Set<number>();
  #exporting: AbortController | undefined;

  constructor(host: GalleryHost) {
    this.#host = host;
    this.#grid = new Grid({
      load: async (keys) => (await this.#store).pictures(keys),
      open: (key) => void this.#viewer.open(key),
      star: (key) => void this.#star(key),
      delete: (key) => this.#delete(key),
    });
    this.#viewer = new Viewer({
      beside: (key, places) => this.#keys[this.#keys.indexOf(key) + places],
      load: (key) => this.#load(key),
      star: (key) => this.#star(key),
      delete: (key) => this.#delete(key),
      actions: (shown) => this.#actions(shown),
      samplers: host.samplers,
      closed: (key) => this.#grid.focus(key === undefined ? 0 : Math.max(0, this.#keys.indexOf(key))),
    });
    this.#problem.setAttribute("role", "status");
    const heading = make("h2", { id: "gallery-title" }, "Gallery");
    const top = make("div", { className: "gallery-top" }, heading, this.#note, this.#filter, this.#export);
    element("gallery", HTMLElement).append(top, this.#problem, this.#grid.element, this.#usage);
    void this.#begin();
  }

  /** Keeps a finished picture; where that fails the user is told, and the picture stays on the stage. */
  async keep(
    file: Blob,
    params: GenerateParams,
    model: URL,
    outcome: { width: number; height: number },
  ): Promise<void> {
    try {
      const thumbnail = await thumbnailOf(file);
      const picture: Picture = {
        added: Date.now(),
        width: outcome.width,
        height: outcome.height,
        settings: settingsOf(params, modelName(model)),
        model: model.href,
        starred: 0,
        thumbnail,
        size: file.size + (thumbnail?.size ?? 0),
      };
      await (await this.#store).add(picture, file, await startingPoint(params));
      await this.#show();
    } catch (error) {
      showError(notKept(asEaselError(error)));
    }
  }

  async #begin(): Promise<void> {
    try {
      const store = await this.#store;
      store.onChange(() => void this.#refresh());
      await this.#show();
    } catch (error) {
      this.#problem.textContent = `Pictures cannot be kept: ${asEaselError(error).message}.`;
    }
  }

  async #show(): Promise<void> {
    const store = await this.#store;
    const starred = this.#filter.ariaPressed === "true";
    this.#keys = (await store.keys(starred)).filter((key) => !this.#deleted.has(key)).reverse();
    this.#grid.show(this.#keys);
    const count = this.#keys.length;
    this.#export.hidden = count === 0;
    this.#filter.hidden = count === 0 && !starred;
    const empty = starred
      ? "No picture is starred."
      : "Every picture that is finished is kept here, in this browser.";
    this.#note.textContent = count === 0 ? empty : count === 1 ? "One picture" : `${count} pictures`;
    this.#usage.textContent = await usage(await store.size());
  }

  /** Another tab has changed something. */
  async #refresh(): Promise<void> {
    for (const key of [...this.#keys]) this.#grid.forget(key);
    await this.#show();
    if (this.#viewer.isOpen) await this.#viewer.refresh();
  }

  async #load(key: number): Promise<Shown | undefined> {
    const store = await this.#store;
    const [picture, file] = await Promise.all([store.picture(key), store.file(key)]);
    return picture && file && { key, picture, file };
  }

  #toggleFilter(): void {
    this.#filter.ariaPressed = String(this.#filter.ariaPressed !== "true");
    void this.#show();
  }

  async #star(key: number): Promise<void> {
    const store = await this.#store;
    const picture = await store.picture(key);
    if (!picture) return;
    await store.star(key, picture.starred ? 0 : 1);
    this.#grid.refresh(key);
    if (this.#viewer.isOpen) await this.#viewer.refresh();
  }

  /** Takes a picture away, and deletes it once that is not to be undone any more. A page that is closed before keeps it. */
  #delete(key: number): void {
    this.#deleted.add(key);
    void this.#show();
    const restore = () => {
      this.#deleted.delete(key);
      void this.#show();
    };
    const forget = async () => {
      await (await this.#store).delete([key]);
      this.#deleted.delete(key);
      await this.#show();
    };
    showToast({ text: "Deleted.", action: "Undo", act: restore, onClose: () => void forget() });
  }

  /** Exports what is shown; a press meanwhile ends that. */
  async #exportShown(): Promise<void> {
    if (this.#exporting) return this.#exporting.abort();
    this.#exporting = new AbortController();
    const { signal } = this.#exporting;
    const [keys, pace] = [this.#keys, new Pace(this.#keys.length, performance.now())];
    const onProgress = (done: number) => {
      pace.step(performance.now());
      this.#problem.textContent = `Exporting: ${done} of ${keys.length}${timeLeft(pace.secondsLeft())}`;
    };
    this.#export.textContent = "Stop the export";
    try {
      await exportZip(await this.#store, keys, { signal, onProgress });
      this.#problem.textContent = "";
    } catch (error) {
      this.#problem.textContent = signal.aborted
        ? "The export was stopped."
        : `The export failed: ${asEaselError(error).message}.`;
    }
    this.#exporting = undefined;
    this.#export.textContent = EXPORT;
  }

  #actions({ picture, file }: Shown): HTMLElement[] {
    const { settings, model } = picture;
    const then = (work: () => void) => () => {
      this.#viewer.leave();
      work();
    };
    const use = () => this.#host.useSettings(settings);
    const actions = [button("Use these settings", then(use))];
    const again = async () => {
      const start = picture.start === undefined ? undefined : await (await this.#store).start(picture.start);
      this.#host.drawAgain(settings, start);
    };
    const open = () => {
      this.#host.openModel(model);
      use();
    };
    if (model !== this.#host.model()?.href) actions.push(button("Open its model", then(open)));
    // What older pictures were drawn from was not kept.
    else if (settings.strength === undefined || picture.start !== undefined) {
      actions.push(button("Draw again", then(again)));
    }
    actions.push(
      button(
        "Start from it",
        then(() => this.#host.startFrom(file)),
      ),
      button("Save", () => saveFile(file, fileName(settings.prompt ?? "", settings.seed ?? 0))),
    );
    const link = URL.canParse(model) ? this.#host.modelInLink(new URL(model)) : undefined;
    return [...actions, ...shareActions({ file, settings, model: link })];
  }
}

/** What is to be done when a picture found no room. */
function notKept({ code, message, cause }: EaselError): EaselError {
  const advice =
    code === "quota"
      ? "the browser has no room left. Download it now, then delete pictures here or a model under Models"
      : `${message}. Download it now`;
  return new EaselError(code, `the picture could not be kept in the gallery: ${advice}`, { cause });
}

async function usage(pictures: number): Promise<string> {
  const { usage, quota } = await navigator.storage.estimate().catch(() => ({}) as StorageEstimate);
  const own = `Pictures take ${fileSize(pictures)}`;
  if (usage === undefined || quota === undefined) return `${own}.`;
  return `${own}, models and all else ${fileSize(Math.max(0, usage - pictures))}, of ${fileSize(quota)} that this browser allows.`;
}
