// Whether all that a picture needs is here, with the network off too. The service worker keeps the page; the starter model
// is fetched for that even before anybody asks for it, unless its bytes may cost something, or the user has said no.
import { asEaselError } from "../shared/errors.ts";
import { fileSize, TransferPace, timeLeft } from "../shared/pace.ts";
import type { DownloadEvent, Survey } from "../shared/protocol.ts";
import { element } from "./elements.ts";
import { sentence } from "./status.ts";

const DECLINED = "easel.not-offline";
const READY = "Ready for offline use.";
const NOT_READY = "Needs the network until the model is here.";

const said = element("offline-text", HTMLElement);
const amount = element("offline-amount", HTMLElement);
const decline = element("offline-decline", HTMLButtonElement);

/** What the page does for it. */
export interface OfflineHost {
  /** What this browser keeps of a model; no host is asked. */
  survey: (model: URL) => Promise<Survey | undefined>;
  /** Fetches what is missing of a model; rejects when `signal` is aborted. */
  keep: (model: URL, signal: AbortSignal, onEvent: (event: DownloadEvent) => void) => Promise<void>;
  /** Told when a model that nobody asked for is here. */
  kept: (model: URL) => void;
}

/** The line under the button that says so. */
export class OfflineUse {
  readonly #host: OfflineHost;
  readonly #starter: URL;
  #model: URL;
  #fetching: AbortController | undefined;

  constructor(starter: URL, host: OfflineHost) {
    this.#starter = starter;
    this.#model = starter;
    this.#host = host;
    decline.addEventListener("click", () => this.#decline());
    addEventListener("appinstalled", () => {
      forget();
      void this.#keep();
    });
  }

  /** The page is about this model now. */
  async turnTo(model: URL): Promise<void> {
    this.#model = model;
    if (!("serviceWorker" in navigator)) return;
    // Beside the page itself it would only be in the way.
    await navigator.serviceWorker.ready;
    if (model.href !== this.#model.href) return;
    if ((await this.refresh()) || model.href !== this.#starter.href) return;
    if (!isDeclined() && (isInstalled() || isFree())) await this.#keep();
  }

  /** Lets the user's own load go on in its place. */
  giveWay(): void {
    this.#fetching?.abort();
  }

  /** Looks again at what is here, and says it; returns whether that is all. */
  async refresh(): Promise<boolean> {
    if (!(await isPageKept())) return false;
    const model = this.#model;
    const whole = (await this.#host.survey(model).catch(() => undefined))?.whole === true;
    if (model === this.#model && !this.#fetching) say(whole ? READY : NOT_READY);
    return whole;
  }

  /** The user has deleted a model: the starter is not to come back by itself. */
  deleted(address: string): void {
    if (address === this.#starter.href) remember();
    void this.refresh();
  }

  async #keep(): Promise<void> {
    if (this.#fetching) return;
    const fetching = new AbortController();
    this.#fetching = fetching;
    const pace = new TransferPace();
    say("For offline use:", true);
    try {
      await this.#host.keep(this.#starter, fetching.signal, (event) => {
        if (event.type === "download") show(event, pace);
      });
      this.#fetching = undefined;
      await this.refresh();
      this.#host.kept(this.#starter);
    } catch (error) {
      this.#fetching = undefined;
      if (fetching.signal.aborted) await this.refresh();
      else say(`Not ready for offline use: ${sentence(asEaselError(error).message)}`);
    }
  }

  #decline(): void {
    remember();
    this.giveWay();
  }
}

function say(text: string, busy = false): void {
  said.textContent = text;
  amount.textContent = "";
  decline.hidden = !busy;
}

function show({ loaded, total }: DownloadEvent & { type: "download" }, pace: TransferPace): void {
  const left = pace.secondsLeft(loaded, total, performance.now());
  amount.textContent = `${fileSize(loaded)} of ${fileSize(total)}${timeLeft(left)}`;
}

async function isPageKept(): Promise<boolean> {
  const registration = await navigator.serviceWorker?.getRegistration(document.baseURI);
  return registration?.active != null;
}

function isInstalled(): boolean {
  return matchMedia("(display-mode: standalone)").matches;
}

interface Connection {
  saveData?: boolean;
  type?: string;
  effectiveType?: string;
}

/** Whether bytes may be fetched that nobody has asked for. What says nothing of its network may be a phone that pays. */
function isFree(): boolean {
  const { connection } = navigator as { connection?: Connection };
  if (!connection) return !matchMedia("(pointer: coarse)").matches;
  const { saveData, type, effectiveType = "4g" } = connection;
  return !saveData && type !== "cellular" && effectiveType === "4g";
}

function isDeclined(): boolean {
  try {
    return localStorage.getItem(DECLINED) !== null;
  } catch {
    // What keeps no word would be asked at every visit.
    return true;
  }
}

function remember(): void {
  try {
    localStorage.setItem(DECLINED, "1");
  } catch {
    // See above.
  }
}

function forget(): void {
  try {
    localStorage.removeItem(DECLINED);
  } catch {
    // See above.
  }
}
