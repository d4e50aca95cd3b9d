import { EaselError, fromWire } from "../shared/errors.ts";
import type { FromWorker, Kind, Requests, ToWorker } from "../shared/protocol.ts";
import { workerUrl } from "./engine_files.ts";
import { startWorker } from "./worker_start.ts";

interface Pending {
  resolve: (result: never) => void;
  reject: (error: EaselError) => void;
  onEvent: (event: never) => void;
}

interface RequestOptions<K extends Kind> {
  onEvent?: (event: Requests[K]["event"]) => void;
  signal?: AbortSignal | undefined;
  transfer?: Transferable[];
}

/** The engine's worker, as promises. */
export class EngineClient {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  /** Why nothing can be asked any more. */
  #ended: EaselError | undefined;

  constructor(worker = startWorker(new URL(workerUrl, document.baseURI))) {
    this.#worker = worker;
    worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => this.#receive(data));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      const detail = event.message || "its script could not be loaded";
      this.#end(new EaselError("internal", `the engine's worker failed: ${detail}`));
    });
  }

  /** Aborting `signal` asks the worker to stop; the reply still comes. */
  async request<K extends Kind>(
    kind: K,
    params: Requests[K]["params"],
    { onEvent = () => {}, signal, transfer = [] }: RequestOptions<K> = {},
  ): Promise<Requests[K]["result"]> {
    if (this.#ended) throw this.#ended;
    this.#lastId += 1;
    const id = this.#lastId;
    const reply = new Promise<Requests[K]["result"]>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onEvent });
    });
    const abort = () => this.#send({ type: "abort", id });
    this.#send({ type: "request", id, kind, params } as ToWorker, transfer);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    return reply.finally(() => signal?.removeEventListener("abort", abort));
  }

  /** Ends the worker; requests under way, and those to come, are rejected as `cancelled`. */
  close(): void {
    this.#end(new EaselError("cancelled", "the engine was closed"));
  }

  #end(error: EaselError): void {
    this.#ended ??= error;
    this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
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
}
