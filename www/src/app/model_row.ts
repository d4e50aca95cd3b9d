import { hubModel, isLocal, modelName } from "../shared/model_address.ts";
import { fileSize, TransferPace, timeLeft } from "../shared/pace.ts";
import type { DownloadEvent, ModelSummary, SaveEvent, VerifyEvent } from "../shared/protocol.ts";
import { button, deleteButton, make, replaceButtons } from "./make.ts";

/** What can be done with a kept model; work under way says at its end what came of it. */
export interface ModelActions {
  open: () => void;
  finish: (signal: AbortSignal, onEvent: (event: DownloadEvent) => void) => Promise<string>;
  verify: (signal: AbortSignal, onEvent: (event: VerifyEvent) => void) => Promise<string>;
  save: (signal: AbortSignal, onEvent: (event: SaveEvent) => void) => Promise<string>;
  delete: () => Promise<string>;
}

type WorkEvent = DownloadEvent | VerifyEvent | SaveEvent;

/** A kept model in the list. */
export class ModelRow {
  readonly #actions: ModelActions;
  readonly #title = make("p", { className: "label-row" });
  readonly #facts = make("p", { className: "hint" });
  readonly #buttons = make("div", { className: "buttons" });
  readonly #note = make("p", { className: "hint" });
  readonly item = make("li", {}, this.#title, this.#facts, this.#buttons, this.#note);
  #model: ModelSummary | undefined;
  #isOpen = false;
  #work: AbortController | undefined;

  constructor(actions: ModelActions) {
    this.#actions = actions;
    this.#note.setAttribute("role", "status");
  }

  /** `isOpen` tells the model that the page is about. */
  show(model: ModelSummary, isOpen: boolean): void {
    this.#model = model;
    this.#isOpen = isOpen;
    const { size, kept, whole, started, quant, commit, licence } = model;
    const { name, page } = source(model);
    const amount = whole ? fileSize(size) : `${fileSize(kept)} of ${fileSize(size)}`;
    this.#title.replaceChildren(page ? link(name, page) : name, make("span", {}, amount));
    const facts = [
      ...(isOpen ? ["in use"] : []),
      whole ? "complete" : "unfinished",
      new Date(started).toLocaleDateString(undefined, { dateStyle: "medium" }),
    ];
    if (quant !== "none") facts.push(`packed to ${quant}`);
    if (isLocal(new URL(model.address))) facts.push("from this device");
    if (commit !== undefined) facts.push(`commit ${commit.slice(0, 7)}`);
    this.#facts.replaceChildren(facts.join(" · "));
    if (licence) this.#facts.append(" · licence ", link(licence.name, licence.link));
    this.#showButtons();
  }

  #showButtons(): void {
    const { whole } = this.#model ?? {};
    if (this.#work) {
      replaceButtons(
        this.#buttons,
        button("Pause", () => this.#work?.abort()),
      );
      return;
    }
    const remove = deleteButton(() => void this.#run(() => this.#actions.delete()));
    const check = button("Verify", () => void this.#run((signal, say) => this.#actions.verify(signal, say)));
    const finish = button("Finish", () => void this.#run((signal, say) => this.#actions.finish(signal, say)));
    const save = button(
      "Save to files…",
      () => void this.#run((signal, say) => this.#actions.save(signal, say)),
    );
    replaceButtons(
      this.#buttons,
      ...(this.#isOpen ? [] : [button("Open", this.#actions.open)]),
      ...(whole ? [] : [finish]),
      check,
      ...(whole ? [save] : []),
      remove,
    );
  }

  async #run(work: (signal: AbortSignal, say: (event: WorkEvent) => void) => Promise<string>): Promise<void> {
    this.#work = new AbortController();
    this.#showButtons();
    this.#note.textContent = "";
    const pace = new TransferPace();
    this.#note.textContent = await work(this.#work.signal, (event) => {
      this.#note.textContent = progressText(event, pace);
    });
    this.#work = undefined;
    this.#showButtons();
  }
}

const DONE = { download: "Copied", checking: "Checked", saving: "Saved" };

function progressText(event: WorkEvent, pace: TransferPace): string {
  if (event.type === "waiting") return "Another tab is at work on this model.";
  const { loaded, total } = event;
  const left = pace.secondsLeft(loaded, total, performance.now());
  return `${DONE[event.type]} ${fileSize(loaded)} of ${fileSize(total)}${timeLeft(left)}`;
}

/** What a model is called, and the page that tells people of it, where its host has one. */
function source({ address }: ModelSummary): { name: string; page?: string } {
  const model = new URL(address);
  const name = modelName(model);
  const onHub = isLocal(model) ? undefined : hubModel(model);
  return onHub ? { name, page: new URL(`${onHub.owner}/${onHub.name}`, onHub.hub).href } : { name };
}

function link(text: string, href: string): HTMLAnchorElement {
  return make("a", { href, target: "_blank", rel: "noopener noreferrer" }, text);
}
