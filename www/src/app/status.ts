import type { EaselError } from "../shared/errors.ts";
import { duration, fileSize } from "../shared/pace.ts";
import type { GenerateEvent, LoadEvent, Loaded } from "../shared/protocol.ts";
import { element } from "./elements.ts";

const status = element("status", HTMLElement);
const progress = element("progress", HTMLProgressElement);
const progressText = element("progress-text", HTMLElement);
const warnings = element("warnings", HTMLElement);
const deviceNote = element("device-note", HTMLElement);
const alert = element("alert", HTMLElement);
const alertText = element("alert-text", HTMLElement);
const alertCode = element("alert-code", HTMLElement);

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
}

export function hideProgress(text = ""): void {
  progress.hidden = true;
  progressText.textContent = text;
}

/** `local` is for models of this device. */
export function showLoadEvent(event: LoadEvent, local: boolean): void {
  if (event.type === "waiting") {
    showStatus("Another tab is fetching this model");
    showProgress("");
  } else if (event.type === "download") {
    const { loaded, total } = event;
    const doing = local ? "Copying the model into this browser" : "Downloading the model";
    showStatus(`${doing}, ${fileSize(total)}, once`);
    showProgress(`${fileSize(loaded)} of ${fileSize(total)}`, loaded / total);
  } else {
    showStatus("Preparing the model");
    showProgress(event.stage, event.total > 0 ? event.loaded / event.total : undefined);
  }
}

/** What keeps the first picture waiting on a new adapter. */
export function showPreparation({ stage, loaded, total }: Extract<GenerateEvent, { type: "prepare" }>): void {
  showStatus(stage === "measuring" ? "Getting to know the GPU, once" : "Compiling for the GPU");
  showProgress(`${loaded}/${total}`, total > 0 ? loaded / total : undefined);
}

/** "7/20 · 3.1 s left". */
export function showStep(index: number, total: number, secondsLeft: number | undefined): void {
  const left = secondsLeft === undefined ? "" : ` · ${duration(secondsLeft)} left`;
  showProgress(`${index}/${total}${left}`, index / total);
}

/** Says what of the prompts was left out. */
export function showWarnings(sentences: string[]): void {
  warnings.textContent = sentences.map(sentence).join(" ");
}

export function showDevice({ device, adapter, reason }: Loaded): void {
  const where = device === "gpu" ? `Drawing on the GPU: ${adapter}.` : "Drawing on the CPU";
  deviceNote.textContent =
    device === "gpu" ? where : reason === undefined ? `${where}.` : `${where}: ${reason}.`;
  deviceNote.hidden = false;
}

export function showError(error: EaselError): void {
  alertText.textContent = sentence(error.message);
  alertCode.textContent = error.code;
  alert.hidden = false;
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
