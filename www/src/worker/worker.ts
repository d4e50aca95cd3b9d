// Entry of the worker: takes requests, gives events and replies. It owns the engine, the GPU and the model store. Under
// another name it is the worker's own, which hashes.
import { EaselError, toWire } from "../shared/errors.ts";
import type {
  DownloadEvent,
  FromWorker,
  Kind,
  Requests,
  SaveEvent,
  ToWorker,
  VerifyEvent,
} from "../shared/protocol.ts";
import { dropOldArchives } from "./archives.ts";
import { beginHash, packingTools } from "./engine_code.ts";
import { serveHash } from "./hash_worker.ts";
import { deleteModel, listKept, verifyModel } from "./kept.ts";
import { ModelDownload, USUAL } from "./model_download.ts";
import { PackingProvider } from "./packing.ts";
import { providerOf } from "./provider.ts";
import { recognise } from "./recognise.ts";
import { saveToArchive, saveToFolder } from "./saving.ts";
import { Session } from "./session.ts";
import { HASH_WORKER } from "./source_hash.ts";
import { Store } from "./store.ts";

const session = new Session();
const running = new Map<number, AbortController>();

type Request = Extract<ToWorker, { type: "request" }>;

function handle(
  request: Request,
  signal: AbortSignal,
): Promise<Requests[Kind]["result"]> | Requests[Kind]["result"] {
  const emit = (event: Requests[Kind]["event"]) => send({ type: "event", id: request.id, event });
  switch (request.kind) {
    case "load":
      return session.load(request.params, signal, emit);
    case "tokens":
      return session.tokens(request.params.prompt);
    case "generate":
      return session.generate(request.params, signal, emit);
    case "recognise":
      return recognise(request.params.files);
    case "useLoras":
      return session.useLoras(request.params.loras, signal);
    case "models":
    case "loras":
    case "keepLora":
    case "survey":
    case "finish":
    case "verify":
    case "delete":
    case "save":
      return keep(request, signal, emit);
  }
}

type KeepRequest = Extract<Request, { kind: KeepKind }>;

type KeepKind = "models" | "loras" | "keepLora" | "survey" | "finish" | "verify" | "delete" | "save";

/** What is about kept models and needs no engine. */
async function keep(
  request: KeepRequest,
  signal: AbortSignal,
  emit: (event: DownloadEvent | VerifyEvent | SaveEvent) => void,
): Promise<Requests[KeepRequest["kind"]]["result"]> {
  const store = await Store.open();
  if (request.kind === "models") {
    await dropOldArchives();
    return listKept(store, "model");
  }
  if (request.kind === "loras") return listKept(store, "lora");
  const { model } = request.params;
  if (request.kind === "verify") return verifyModel(store, model, signal, emit);
  if (request.kind === "save") {
    const saving = { store, address: model, signal, emit };
    const { folder } = request.params;
    return folder ? { name: await saveToFolder(saving, folder) } : saveToArchive(saving);
  }
  if (request.kind === "delete") await deleteModel(store, model);
  else {
    const options = { ...USUAL, token: request.params.token, signal, emit };
    const published = providerOf(
      new URL(model),
      request.params.files,
      options,
      request.kind === "keepLora" ? "lora" : "model",
    );
    // A LoRA is read as it is.
    const provider =
      request.kind === "keepLora" ? published : new PackingProvider(published, "auto", packingTools);
    const download = new ModelDownload(provider, store, options);
    if (request.kind === "survey") return (await download.survey(request.params.ask)) ?? null;
    const plan = await download.complete();
    if (request.kind === "keepLora" && plan.lora === undefined) {
      const advice = "a LoRA's address is that of its file, which ends in .safetensors";
      throw new EaselError("model_address", `a model is kept from that address, and no LoRA: ${advice}`);
    }
  }
  return null;
}

async function answer(request: Request): Promise<void> {
  const abort = new AbortController();
  running.set(request.id, abort);
  try {
    send({ type: "reply", id: request.id, ok: true, result: await handle(request, abort.signal) });
  } catch (error) {
    send({ type: "reply", id: request.id, ok: false, error: toWire(error) });
  } finally {
    running.delete(request.id);
  }
}

function send(message: FromWorker): void {
  postMessage(message, snapshots(message));
}

/** Pictures are handed over, not copied. */
function snapshots(message: FromWorker): Transferable[] {
  const content = message.type === "event" ? message.event : message.ok ? message.result : undefined;
  return content && "picture" in content ? [content.picture] : [];
}

/** An exception that no request caught leaves its request without an end: all that run are told of it. */
function failRunning(event: Event, thrown: unknown): void {
  if (running.size === 0) return;
  event.preventDefault();
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  const error = toWire(new EaselError("internal", `the engine broke down (${reason}): load it again`));
  for (const id of running.keys()) send({ type: "reply", id, ok: false, error });
  running.clear();
}

function serveEngine(): void {
  addEventListener("error", (event) => failRunning(event, event.error ?? event.message));
  addEventListener("unhandledrejection", (event) => failRunning(event, event.reason));
  addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
    if (data.type === "abort") running.get(data.id)?.abort();
    else void answer(data);
  });
}

if (self.name === HASH_WORKER) serveHash(beginHash);
else serveEngine();
