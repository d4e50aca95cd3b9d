import type { EaselError } from "../shared/errors.ts";
import { fileSize, StagePace, TransferPace, timeLeft } from "../shared/pace.ts";
import type { GenerateEvent, LoadEvent, Loaded, Survey } from "../shared/protocol.ts";
import { element } from "./elements.ts";

const status = element("status", HTMLElement);
const progress = element("progress", HTMLProgressElement);
const progressText = element("progress-text", HTMLElement);
const warnings = element("warnings", HTMLElement);
const deviceNote = element("device-note", HTMLElement);
const alert = element("alert", HTMLElement);
const alertText = element("alert-text", HTMLElement);
const alertCode = element("alert-code", HTMLElement);

/** One part of a preparation; `total` is 0 where it is not known. */
type Part = Extract<GenerateEvent | LoadEvent, { type: "prepare" }>;

/** Says a phase; screen readers read it out, so it changes with phases and not with steps. */
export function showStatus(text: string): void {
  if (status.textContent !== text) status.textContent = text;
}

/** A bar without an end when `value` is `undefined`. */
export function showProgress(text: string, value?: number): void {
  progress.hidden = false;
  if (value === undefined) progress.removeAttribute("value");
  else progress.value = value;
  progressText.textContent = text;
  // A tab in the background tells how far it is.
  document.title = text ? `${text} · Easel` : "Easel";
}

export function hideProgress(text = ""): void {
  progress.hidden = true;
  progressText.textContent = text;
  document.title = "Easel";
}

/** Says what there is to get, and what of it is here already; `model` is the name of one that comes from elsewhere. */
export function showOffer(model: string | undefined, survey: Survey | undefined): void {
  if (survey && survey.kept > 0) {
    showStatus(`${fileSize(survey.kept)} of ${fileSize(survey.size)} are here already`);
  } else {
    const packed = survey && survey.size < survey.missing;
    const room = packed ? `. Packed as it arrives, it takes ${fileSize(survey.size)} here` : "";
    showStatus(
      model ? `${model} is not in this browser yet${room}` : `Fetched once, then kept in this browser${room}`,
    );
  }
}

/** Says how far a load is. */
export class LoadProgress {
  readonly #local: boolean;
  readonly #pace = new TransferPace();
  readonly #parts = new PartsProgress();

  /** `local` is for models of this device. */
  constructor(local: boolean) {
    this.#local = local;
  }

  show(event: LoadEvent): void {
    if (event.type === "waiting") {
      showStatus("Another tab is fetching this model");
      showProgress("");
    } else if (event.type === "download") {
      const { loaded, total } = event;
      showStatus(this.#local ? "Copying into this browser" : "Downloading, once");
      const left = this.#pace.secondsLeft(loaded, total, performance.now());
      showProgress(`${fileSize(loaded)} of ${fileSize(total)}${timeLeft(left)}`, loaded / total);
    } else {
      showStatus("Preparing the model");
      this.#parts.show(event);
    }
  }
}

/** Says how far the parts of a preparation are, each with its own time left. */
export class PartsProgress {
  readonly #pace = new StagePace();

  show({ stage, loaded, total }: Part): void {
    const left = this.#pace.secondsLeft(stage, loaded, total, performance.now());
    const share = total > 0 ? loaded / total : undefined;
    showProgress(share === undefined ? "" : `${Math.round(100 * share)} %${timeLeft(left)}`, share);
  }
}

/** "7/20 · 3.1 s left". */
export function showStep(index: number, total: number, secondsLeft: number | undefined): void {
  showProgress(`${index}/${total}${timeLeft(secondsLeft)}`, index / total);
}

/** Says what of the prompts was left out. */
export function showWarnings(sentences: string[]): void {
  warnings.textContent = sentences.map(sentence).join(" ");
}

export function showDevice({ device, adapter, reason }: Loaded): void {
  if (device === "gpu") deviceNote.textContent = `Drawing on the GPU: ${adapter}.`;
  else if (reason === undefined) deviceNote.textContent = "Drawing on the CPU.";
  else deviceNote.textContent = `Drawing on the CPU: ${reason}. A GPU would be much faster.`;
  deviceNote.dataset.advice = String(reason !== undefined);
  deviceNote.hidden = false;
}

export function showError(error: EaselError): void {
  alertText.textContent = sentence(error.message);
  alertCode.textContent = error.code;
  alert.hidden = false;
  alert.scrollIntoView({ block: "nearest" });
}

export function hideError(): void {
  alert.hidden = true;
}

/** A message as a sentence. */
export function sentence(text: string): string {
  const start = text.charAt(0);
  // A message that begins with a file's name keeps it as it is written.
  const capital = /^\S*[._/]/.test(text) ? start : start.toUpperCase();
  return `${capital}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
