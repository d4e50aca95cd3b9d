import { EaselError, fromWire } from "../shared/errors.ts";
import type { FromWorker, Kind, Requests, ToWorker } from "../shared/protocol.ts";

interface Pending {
  resolve: (result: never) => void;
  reject: (error: EaselError) => void;
  onEvent: (event: never) => void;
}

interface RequestOptions<K extends Kind> {
  onEvent?: (event: Requests[K]["event"]) => void;
  signal?: AbortSignal;
  transfer?: Transferable[];
}

/** The engine's worker, as promises. */
export class EngineClient {
  readonly #worker = new Worker(new URL("../worker/worker.ts", import.meta.url), { type: "module" });
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  constructor() {
    this.#worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => this.#receive(data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      const detail = event.message || "its script could not be loaded";
      this.#fail(new EaselError("internal", `the engine's worker failed: ${detail}`));
    });
  }

  /** Aborting `signal` asks the worker to stop; the reply still comes. */
  request<K extends Kind>(
    kind: K,
    params: Requests[K]["params"],
    options: RequestOptions<K> = {},
  ): Promise<Requests[K]["result"]> {
    this.#lastId += 1;
    const id = this.#lastId;
    const reply = new Promise<Requests[K]["result"]>((resolve, reject) => {
      const onEvent = options.onEvent ?? (() => {});
      this.#pending.set(id, { resolve, reject, onEvent });
    });
    options.signal?.addEventListener("abort", () => this.#send({ type: "abort", id }));
    this.#send({ type: "request", id, kind, params } as ToWorker, options.transfer);
    if (options.signal?.aborted) this.#send({ type: "abort", id });
    return reply;
  }

  /** Ends the worker; requests under way are rejected as `cancelled`. */
  close(): void {
    this.#worker.terminate();
    this.#fail(new EaselError("cancelled", "the engine was closed"));
  }

  #send(message: ToWorker, transfer: Transferable[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #receive(message: FromWorker): void {
    const pending = this.#pending.get(message.id);
    if (!pending) return;
    if (message.type === "event") {
      pending.onEvent(message.event as never);
      return;
    }
    this.#pending.delete(message.id);
    if (message.ok) pending.resolve(message.result as never);
    else pending.reject(fromWire(message.error));
  }

  #fail(error: EaselError): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}
