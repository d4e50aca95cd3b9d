// Weights that are packed as they arrive: a model's provider in front of which the engine's transcoder sits.
import type { Transcoder } from "easel-wasm";
import { EaselError } from "../shared/errors.ts";
import type { Quant, QuantChoice } from "../shared/protocol.ts";
import { sha256Hex } from "./digest.ts";
import type { Range } from "./host.ts";
import type { Plan, Planned, PlannedFile } from "./plan.ts";
import type { ByteSource, Provider } from "./provider.ts";
import { readHeader } from "./safetensors.ts";

/** Makes a transcoder, or `undefined` where there is nothing to pack; the engine's `Transcoder.create`. */
export type MakeTranscoder = (
  path: string,
  header: Uint8Array,
  size: number,
  quant: Quant,
  sha256: string | undefined,
) => Promise<Transcoder | undefined>;

/** A file as its source has it, and what becomes of it. */
export interface Packing {
  quant: Quant;
  source: Pick<PlannedFile, "size" | "sha256" | "validator">;
  /** Of the source's header: with another, bytes would be taken for others. */
  headerSha256: string;
}

/** Weights smaller than this stay as they are, unless the user wants otherwise. */
const SMALL_BYTES = 300e6;
const AUTOMATIC = "mixed";

/** Most bytes that are copied into the engine's memory at once. */
const PIECE = 1 << 20;

const WEIGHTS = /^(unet|vae|text_encoder(_\d+)?)\/[^/]+\.safetensors$/;

/** The models of another provider, packed. */
export class PackingProvider implements Provider {
  readonly #inner: Provider;
  readonly #choice: QuantChoice;
  readonly #make: MakeTranscoder;

  constructor(inner: Provider, choice: QuantChoice, make: MakeTranscoder) {
    this.#inner = inner;
    this.#choice = choice;
    this.#make = make;
  }

  get address(): string {
    return this.#inner.address;
  }

  async plan(chunkSize: number): Promise<Planned> {
    const { plan, contents } = await this.#inner.plan(chunkSize);
    const weights = plan.files.filter(({ path }) => WEIGHTS.test(path));
    const bytes = weights.reduce((sum, { size }) => sum + size, 0);
    const quant = this.#choice === "auto" ? (bytes < SMALL_BYTES ? "none" : AUTOMATIC) : this.#choice;
    if (quant === "none") return { plan: { ...plan, quant }, contents };
    const files: PlannedFile[] = [];
    for (const file of plan.files) {
      files.push(WEIGHTS.test(file.path) ? await this.#packed(plan, file, quant, chunkSize) : file);
    }
    return { plan: { ...plan, quant, files }, contents };
  }

  /** Whether the model is what the user chose, and still what its source has. */
  async isCurrent(plan: Plan): Promise<boolean> {
    const chosen = this.#choice === "auto" || this.#choice === (plan.quant ?? "none");
    return chosen && this.#inner.isCurrent(plan);
  }

  open(plan: Plan, file: PlannedFile): ByteSource {
    const { packing } = file;
    if (!packing) return this.#inner.open(plan, file);
    const source = this.#inner.open(plan, original(file, packing));
    return new PackedSource(file, packing, source, this.#make);
  }

  /** The file as it will be; its source's header has to be read for that. */
  async #packed(plan: Plan, file: PlannedFile, quant: Quant, chunkSize: number): Promise<PlannedFile> {
    const { path, size, sha256, validator } = file;
    const header = await readHeader(path, this.#inner.open(plan, file));
    const transcoder = await this.#make(path, header, size, quant, sha256);
    if (!transcoder) return file;
    const { outputSize } = transcoder;
    transcoder.free();
    const source = { size, ...(sha256 && { sha256 }), ...(validator && { validator }) };
    const packing = { quant, source, headerSha256: await sha256Hex(header) };
    return { path, size: outputSize, chunkSize, packing };
  }
}

function original({ path, chunkSize }: PlannedFile, { source }: Packing): PlannedFile {
  return { path, chunkSize, ...source };
}

/** The packed file; to read any of it is to read its source from the tensor on that the bytes are of. */
class PackedSource implements ByteSource {
  readonly size: number;
  readonly #path: string;
  readonly #packing: Packing;
  readonly #source: ByteSource;
  readonly #make: MakeTranscoder;
  #checkpoint: ArrayBuffer | undefined;

  constructor({ path, size }: PlannedFile, packing: Packing, source: ByteSource, make: MakeTranscoder) {
    this.size = size;
    this.#path = path;
    this.#packing = packing;
    this.#source = source;
    this.#make = make;
  }

  checkpoint(): ArrayBuffer | undefined {
    return this.#checkpoint;
  }

  async *read(range: Range, checkpoint?: ArrayBuffer): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const transcoder = await this.#transcoder();
    try {
      const saved = checkpoint && new Uint8Array(checkpoint);
      const [first = 0, output = 0] = transcoder.begin(range.start, saved);
      let at = output;
      for await (const piece of this.#taken(transcoder, first)) {
        const from = Math.max(0, range.start - at);
        const useful = piece.subarray(from, Math.max(from, range.end - at));
        at += piece.length;
        this.#checkpoint = transcoder.checkpoint()?.slice().buffer;
        if (useful.length > 0) yield useful;
        if (at >= range.end && range.end < this.size) return;
      }
    } finally {
      transcoder.free();
    }
  }

  async #transcoder(): Promise<Transcoder> {
    const { quant, source, headerSha256 } = this.#packing;
    const header = await readHeader(this.#path, this.#source);
    if ((await sha256Hex(header)) !== headerSha256) throw this.#changed();
    const transcoder = await this.#make(this.#path, header, source.size, quant, source.sha256);
    if (transcoder?.outputSize !== this.size) throw this.#changed();
    return transcoder;
  }

  #changed(): EaselError {
    const how = "it is not what it was when the download began";
    return new EaselError("changed_file", `${this.#path} has changed at its source: ${how}`);
  }

  /** All that comes out when the source is pushed from `first` on. */
  async *#taken(transcoder: Transcoder, first: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    yield* drained(transcoder);
    if (first === this.#packing.source.size) return;
    for await (const piece of this.#source.read({ start: first, end: this.#packing.source.size })) {
      for (let at = 0; at < piece.length; ) {
        at += transcoder.push(piece.subarray(at, at + PIECE));
        yield* drained(transcoder);
      }
    }
  }
}

function* drained(transcoder: Transcoder): Generator<Uint8Array<ArrayBuffer>> {
  for (let bytes = transcoder.take(); bytes; bytes = transcoder.take())
    yield bytes as Uint8Array<ArrayBuffer>;
}
